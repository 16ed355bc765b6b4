"""A result with everything that a report can show, made without training; and a reader of pages."""

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import torch

from quickstudy.evaluation import Probe, Scores, inspect_adaptation, interval, probe
from quickstudy.evaluation.metrics import BINS
from quickstudy.learners import ANIL, MAML, Learner, NearestNeighbour, PrototypicalNetwork
from quickstudy.networks import MLP, Conv4
from quickstudy.reporting import Outcome, Panel, card, draw_episode, draw_fits, write_report
from quickstudy.tasks import Categorical, ClassPool, Gaussian, TaskSource, sinusoids

MACHINE = {"cpu": "A chip", "cores": 2, "gpu": None, "system": "Linux", "python": "3.11", "torch": "2.13.0"}


def shapes() -> TaskSource:
    """Episodes of noisy stripes: twelve classes that a small network can tell apart."""
    generator = np.random.default_rng(0)
    rows, columns = np.mgrid[:16, :16]
    waves = [np.sin(0.4 * ((k % 4 + 1) * rows * np.cos(k) + (k // 4 + 1) * columns * np.sin(k))) for k in range(12)]
    images = np.stack([wave for wave in waves for _ in range(8)]) + generator.normal(0, 0.3, (96, 16, 16))
    pixels = torch.from_numpy(np.clip(127 + 80 * images, 0, 255).astype(np.uint8))[:, None]
    names = [f"wave{k}" for k in range(12)]
    parts = {"train": names[:4], "validation": names[4:8], "test": names[8:]}
    return ClassPool.from_labels(pixels, np.repeat(np.arange(12), 8), names, parts).episodes(3, 2, 4)


def learners() -> dict[str, Learner]:
    return {
        "prototypical": PrototypicalNetwork(Conv4(filters=4, normalization="layer", size=16)),
        "<nearest> & dearest": NearestNeighbour(),
    }


def scores(mean: float, seed: int, metric: str = "accuracy") -> Scores:
    generator = np.random.default_rng([seed, int(1000 * mean)])
    bins = torch.zeros(200, BINS, 3, dtype=torch.float64)
    confidence = torch.linspace(0.5 / BINS, 1 - 0.5 / BINS, BINS, dtype=torch.float64)
    bins[:, 4:] = torch.stack([torch.ones(BINS), confidence, (confidence * mean).round(decimals=2)], -1)[4:]
    values = {metric: np.clip(mean + generator.normal(0, 0.05, 200), 0, 1), "nll": generator.gamma(2.0, 0.5, 200)}
    return Scores(values, bins if metric == "accuracy" else None)


def outcomes(means: tuple[float, float] = (0.8, 0.5)) -> dict[str, Outcome]:
    training = {"steps": 50, "batch_size": 4, "chosen on": "last step"}
    lines = [
        [{"step": step, "loss": 2 / step + 0.1 * seed} for step in range(1, 50)]
        + [{"step": 25, "validation": 0.7}, {"step": 50, "validation": 0.5 + 0.1 * seed}]
        for seed in (0, 1)
    ]
    ours = [{"3way2shot": scores(means[0], seed)} for seed in (0, 1)]
    theirs = [{"3way2shot": scores(means[1], 0)}]
    return {
        "prototypical": Outcome("learner", ours, [1.5, 1.4], training, "layer", lines),
        "<nearest> & dearest": Outcome("baseline", theirs, [0.0]),
    }


def result(means: tuple[float, float] = (0.8, 0.5)) -> tuple[dict[str, Any], dict[str, Outcome]]:
    found, source = outcomes(means), shapes()
    for name, learner in learners().items():
        found[name].probes = probe(learner, source.test, "accuracy", tasks=4, queries=3, device="cpu")
    fewer = tuple(interval(np.array([0.7, 0.8, accuracy])) for accuracy in (0.8, 0.7, 0.5))
    found["prototypical"].probes.append(
        Probe("fewer training tasks", "share of the training classes", (1.0, 0.25, 0.0625), "training tasks", fewer)
    )
    # Prototypes have no inner loop; that of another stands in for it, so that one page shows everything.
    with torch.random.fork_rng():
        inner = ANIL(Conv4(filters=4, normalization="layer", size=16), Categorical(3), 2, 0.1)
    found["prototypical"].adaptation = inspect_adaptation(inner, source.test, tasks=4, device="cpu")
    protocol = {"3way2shot": {"data": "stripes", "ways": 3, "shots": [1, 5], "separate_groups": False, "tasks": 200}}
    command = "quickstudy compare stripes --steps 50 --out 'my runs/<1>'"
    claim = "Stripes & waves are told apart."
    return card("stripes", claim, command, [0, 1], {"steps": 50}, protocol, found, "accuracy", MACHINE), found


def fits() -> list[Panel]:
    """A sinusoid with lines for many steps."""
    test = sinusoids(5).test
    learner = MAML(MLP(1, (8,)), Gaussian(), 100, 1e-3)
    return [draw_fits({"prototypical": learner}, test.draw(0, 1, 0), lambda x: test.truth(0, x))]


def page(path: Path, means: tuple[float, float] = (0.8, 0.5), notes: tuple[str, ...] = ()) -> str:
    made, found = result(means)
    test = shapes().test
    episodes = [draw_episode(learners(), test.draw(i, 1, 0), f"Test task {i}", f"task{i}") for i in range(2)]
    logs = {name: outcome.curves for name, outcome in found.items() if outcome.curves}
    write_report(made, path, logs=logs, episodes=episodes, fits=fits(), notes=notes)
    return path.read_text(encoding="utf-8")


class Page(HTMLParser):
    """What stands in an HTML page: every element with its attributes, text by element, and whether all are closed."""

    VOID = frozenset({"meta", "img", "br", "hr", "link", "input"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.words: dict[str, list[str]] = {}
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open[-1] == tag, f"</{tag}> closes <{self.open[-1]}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if data.strip() and self.open:
            self.words.setdefault(self.open[-1], []).append(" ".join(data.split()))

    def all(self, tag: str, **attributes: str) -> list[dict[str, str]]:
        """The attributes of all elements of a kind."""
        return [
            found
            for name, found in self.elements
            if name == tag and all(found.get(key.strip("_")) == value for key, value in attributes.items())
        ]
