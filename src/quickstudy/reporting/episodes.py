"""Tasks drawn as people can check them: what was shown, what was asked, and what each learner answered, how sure.

Images are drawn as images, tasks of one input and one target as curves, and everything else as a table.
"""

import string
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from torch import Tensor
from torch import distributions as D

from quickstudy.evaluation.metrics import class_probabilities
from quickstudy.learners import Learner
from quickstudy.reporting.fits import one_dimensional
from quickstudy.reporting.pictures import as_data_uri
from quickstudy.reporting.svg import INK, MUTED, SERIES, Panel, panel
from quickstudy.tasks import TaskBatch

__all__ = ["Answer", "Episode", "Reading", "Tile", "draw_episode"]

_MOST_QUERIES, _MOST_SUPPORT, _MOST_ROWS = 10, 20, 8


@dataclass(frozen=True)
class Tile:
    """A picture with what stands below it; `right` is None for examples that were given.

    Attributes:
        picture: a data URI.
        label: the class it has, or is said to have.
        true: the class it has.
        confidence: of the learner, from 0 to 1.
        right: whether the learner is.
    """

    picture: str
    label: str
    true: str
    confidence: float | None = None
    right: bool | None = None


@dataclass(frozen=True)
class Answer:
    """What a table says in one cell; `right` is None for numbers."""

    text: str
    right: bool | None = None


@dataclass(frozen=True)
class Reading:
    """How one learner reads the queries of a task, drawn as tiles or as a curve."""

    learner: str
    score: str
    tiles: list[Tile] = field(default_factory=list)
    panel: Panel | None = None


@dataclass(frozen=True)
class Episode:
    """One task.

    Attributes:
        title: which one.
        kind: `images`, `curves` or `table`.
        support: of images, the examples that were given.
        readings: of images and curves, a reading per learner.
        head, rows: of tables.
    """

    title: str
    kind: str
    support: list[Tile] = field(default_factory=list)
    readings: list[Reading] = field(default_factory=list)
    head: list[str] = field(default_factory=list)
    rows: list[list[Answer]] = field(default_factory=list)

    @property
    def sure(self) -> bool:
        """Whether percentages of confidence are shown."""
        return self.kind == "images" or any(cell.right is not None for row in self.rows for cell in row)


@torch.no_grad()
def draw_episode(learners: Mapping[str, Learner], batch: TaskBatch, title: str, name: str = "task") -> Episode:
    """The first task of `batch` and what the learners answer.

    Args:
        learners: by name; put into evaluation mode.
        batch: tasks, on the learners' device.
        title: above the drawing.
        name: ids in the drawing begin with it.
    """
    task = batch[0]
    answers: dict[str, D.Distribution] = {}
    for learner_name, learner in learners.items():
        phi = learner.eval().adapt(task.support, task.classes)
        answers[learner_name] = learner.predict(phi, task.query.x, task.query.mask)
    probs = {learner_name: class_probabilities(answer) for learner_name, answer in answers.items()}
    classified = all(each is not None for each in probs.values())
    x = task.query.x
    if classified and isinstance(x, Tensor) and x.ndim == 5:
        return _images(task, {each: p[0] for each, p in probs.items() if p is not None}, title)
    if classified:
        return _class_table(task, {each: p[0] for each, p in probs.items() if p is not None}, title)
    if one_dimensional(task):
        return _curves(task, answers, title, name)
    return _number_table(task, {each: answer.mean[0] for each, answer in answers.items()}, title)


def _class_name(label: int, ways: int) -> str:
    return string.ascii_uppercase[label] if ways <= len(string.ascii_uppercase) else str(label + 1)


def _images(task: TaskBatch, probs: Mapping[str, Tensor], title: str) -> Episode:
    ways = next(iter(probs.values())).shape[-1] if task.classes is None else task.classes.shape[1]
    given, asked = task.support, task.query
    real = torch.cat([given.x[0][given.mask[0]], asked.x[0][asked.mask[0]]])
    low, high = float(real.min()), float(real.max())
    # Pixels from 0 to 1 are shown as they are, others within the range that the task has.
    limits = (0.0, 1.0) if low >= 0 and high <= 1 else (low, high)
    support = [
        Tile(as_data_uri(given.x[0, i], limits), name := _class_name(int(given.y[0, i]), ways), name)
        for i in _a_few_of_each(given.y[0], given.mask[0], _MOST_SUPPORT)
    ]
    shown = _a_few_of_each(asked.y[0], asked.mask[0], _MOST_QUERIES)
    pictures = {i: as_data_uri(asked.x[0, i], limits) for i in shown}
    readings = []
    for learner, p in probs.items():
        tiles = []
        for i in shown:
            choice, true = int(p[i].argmax()), int(asked.y[0, i])
            label, truth = _class_name(choice, ways), _class_name(true, ways)
            tiles.append(Tile(pictures[i], label, truth, float(p[i, choice]), choice == true))
        right = sum(tile.right is True for tile in tiles)
        readings.append(Reading(learner, f"{right} of {len(tiles)} right", tiles))
    return Episode(title, "images", support, readings)


def _a_few_of_each(y: Tensor, mask: Tensor, most: int) -> list[int]:
    """Examples in the order of their classes, as many of each as fit into `most` in all; the first of them."""
    real = mask.nonzero()[:, 0]
    labels = y[real]
    rank = [int((labels[:i] == label).sum()) for i, label in enumerate(labels)]
    taken = sorted(range(len(real)), key=lambda i: (rank[i], int(labels[i])))[:most]
    return [int(real[i]) for i in sorted(taken, key=lambda i: (int(labels[i]), rank[i]))]


def _class_table(task: TaskBatch, probs: Mapping[str, Tensor], title: str) -> Episode:
    ways = next(iter(probs.values())).shape[-1]
    inputs, shown = _inputs(task), task.query.mask[0].nonzero()[:_MOST_ROWS, 0].tolist()
    rows = []
    for i in shown:
        true = int(task.query.y[0, i])
        row = [Answer(_class_name(true, ways))]
        for p in probs.values():
            choice = int(p[i].argmax())
            row.append(Answer(f"{_class_name(choice, ways)} {100 * float(p[i, choice]):.0f}%", choice == true))
        rows.append([*row, *(Answer(f"{value:.3g}") for value in inputs[i])])
    return Episode(title, "table", head=_head(inputs, "class", probs), rows=rows)


def _number_table(task: TaskBatch, means: Mapping[str, Tensor], title: str) -> Episode:
    inputs, shown = _inputs(task), task.query.mask[0].nonzero()[:_MOST_ROWS, 0].tolist()

    def cell(value: Tensor) -> Answer:
        return Answer(", ".join(f"{number:.3g}" for number in value.reshape(-1)[:3].tolist()))

    rows = [
        [
            cell(task.query.y[0, i]),
            *(cell(mean[i]) for mean in means.values()),
            *(Answer(f"{value:.3g}") for value in inputs[i]),
        ]
        for i in shown
    ]
    return Episode(title, "table", head=_head(inputs, "true value", means), rows=rows)


def _inputs(task: TaskBatch) -> Any:
    """`[query, at most three features]`, to tell the rows of a table by; no features where inputs are trees."""
    x = task.query.x
    return x[0].flatten(1)[:, :3].cpu().numpy() if isinstance(x, Tensor) else np.zeros((task.query.mask.shape[1], 0))


def _head(inputs: Any, target: str, learners: Mapping[str, Any]) -> list[str]:
    return [target, *learners, *(f"input {i + 1}" for i in range(inputs.shape[1]))]


def _curves(task: TaskBatch, answers: Mapping[str, D.Distribution], title: str, name: str) -> Episode:
    real, shown = task.query.mask[0].cpu(), task.support.mask[0].cpu()
    x, y = (part[0].cpu()[real].reshape(-1).numpy() for part in (task.query.x, task.query.y))
    order = np.argsort(x)
    x, y = x[order], y[order]
    given = [part[0].cpu()[shown].reshape(-1).numpy() for part in (task.support.x, task.support.y)]
    readings = []
    room = 0.6 * (float(np.ptp(y)) or 1.0)
    for number, (learner, answer) in enumerate(answers.items()):
        mean, spread = (part[0].cpu()[real].reshape(-1).numpy()[order] for part in (answer.mean, answer.stddev))

        def draw(axes: Axes, mean: Any = mean, spread: Any = spread, number: int = number) -> None:
            colour = SERIES[number % len(SERIES)]
            axes.plot(x, y, color=MUTED, lw=5, alpha=0.35, solid_capstyle="round")
            axes.fill_between(x, mean - 1.96 * spread, mean + 1.96 * spread, color=colour, alpha=0.12, lw=0)
            axes.plot(x, mean, color=colour, lw=1.8)
            axes.plot(*given, ls="", marker="o", color=INK, ms=5)
            axes.set(xlabel="x", ylabel="y", ylim=(float(y.min()) - room, float(y.max()) + room))

        error = float(np.mean((mean - y) ** 2))
        drawn = panel(
            f"{name}-{number}",
            learner,
            f"{learner} on a task of {len(given[0])} support points: mean squared error {error:.3g}.",
            draw,
            200,
            f"mean squared error {error:.3g}",
        )
        readings.append(Reading(learner, drawn.caption, panel=drawn))
    return Episode(title, "curves", readings=readings)
