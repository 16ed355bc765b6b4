"""The report on sharing: its numbers against single trainings made by hand, and the rule of its verdicts."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

from quickstudy.evaluation import SharingReport, company_folder, sharing, sharing_report, sharing_verdict
from quickstudy.multitask import NamedModule, SeparateNetworks, SharedBottom, named_tasks, shared_tasks
from quickstudy.networks import MLP
from quickstudy.rebuild import load
from quickstudy.reporting import sharing_panels
from quickstudy.tasks import Bernoulli, Gaussian

pytestmark = pytest.mark.unchecked  # many small trainings
RNG = np.random.default_rng(0)
X = RNG.normal(size=(80, 3))
Y = {"a": X[:, 0], "b": X[:, 0] + 0.1 * RNG.normal(size=80), "c": (X[:, 1] > 0).astype(float)}
OBJECTIVES = {"a": Gaussian(), "b": Gaussian(), "c": Bernoulli()}


def make(objectives: object) -> NamedModule:
    return SharedBottom(MLP(3, (6,)), objectives)  # type: ignore[arg-type]


@pytest.mark.parametrize("form", ["shared", "apart"])
def test_numbers_are_those_of_trainings_by_hand(form: str) -> None:
    tasks = shared_tasks(X, Y) if form == "shared" else named_tasks({task: (X, y) for task, y in Y.items()})
    report = sharing_report(
        make, OBJECTIVES, tasks, steps=12, batch_size=8, seeds=(0, 3), groups=2, choose=False, device="cpu"
    )

    def by_hand(company: str, seed: int) -> dict[str, float]:
        """Trained on the whole batch, with the losses of the others left out of the mean."""
        torch.manual_seed(seed)
        module = make({task: OBJECTIVES[task] for task in company})
        optimizer = torch.optim.Adam(module.parameters(), 1e-3)
        for step in range(12):
            batch = tasks.train.sample(step, 8, seed)
            optimizer.zero_grad()
            if form == "shared":
                losses = [module({task: batch[task]})[task] for task in company]
            else:
                losses = list(module({task: batch[task] for task in company}).values())
            torch.stack(losses).mean().backward()
            optimizer.step()
        return module.scores(named_split(tasks.test, company))

    for column, task in enumerate("abc"):
        alone = [by_hand(task, seed)[task] for seed in (0, 3)]
        joint = [by_hand("abc", seed)[task] for seed in (0, 3)]
        np.testing.assert_allclose(report.alone[:, column], alone, rtol=1e-4)
        sign = 1 if task == "c" else -1
        deltas = np.array([sign * (j - a) / a for j, a in zip(joint, alone, strict=True)])
        np.testing.assert_allclose(report.joint[:, column], deltas, atol=1e-4)
        assert report.delta[task].ci95 == pytest.approx(stats.t.ppf(0.975, 1) * stats.sem(deltas), abs=1e-3)
    pair = [by_hand("ac", seed)["c"] for seed in (0, 3)]
    np.testing.assert_allclose(report.pairs[:, 0, 2], np.array(pair) / report.alone[:, 2] - 1, atol=1e-4)
    assert report.delta_m.mean == pytest.approx(report.joint.mean())
    assert report.cosines.shape == (12, 2 - 1, 3, 3)
    assert len(report.groups) <= 2
    text = str(report)
    assert all(verdict in text for verdict in report.verdicts.values())
    titles = [panel.title for panel in sharing_panels(report)]
    assert titles[0] == "Every task against itself alone"
    assert len(titles) == 4


def named_split(split: object, company: str) -> object:
    from quickstudy.evaluation.sharing import _Only

    return _Only(split, list(company))  # type: ignore[arg-type]


def test_affinities_instead_of_pairs() -> None:
    report = sharing_report(
        make, OBJECTIVES, shared_tasks(X, Y), steps=6, batch_size=8, seeds=(0,), relations="affinity", device="cpu"
    )
    assert report.pairs is None
    np.testing.assert_array_equal(report.gains, report.affinity)
    assert np.isnan(report.delta_m.ci95)
    assert set(report.verdicts.values()) == {"no difference shown"}
    assert len(sharing_panels(report)) == 4


def test_trainings_are_kept_and_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def told(folder: Path | None, **more: bool) -> SharingReport:
        return sharing_report(
            make,
            OBJECTIVES,
            shared_tasks(X, Y),
            steps=6,
            batch_size=8,
            seeds=(0, 3),
            device="cpu",
            folder=folder,
            **more,
        )

    whole = told(None)
    trained, stop = sharing.fit, 9

    def interrupted(*args: object, **kwargs: object) -> object:
        nonlocal stop
        stop -= 1
        if not stop:
            raise KeyboardInterrupt
        return trained(*args, **kwargs)

    monkeypatch.setattr(sharing, "fit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        told(tmp_path)
    monkeypatch.setattr(sharing, "fit", trained)
    with pytest.raises(FileExistsError, match="holds a run"):
        told(tmp_path)
    for _ in range(2):  # the rest; and once more, with nothing left to train
        again = told(tmp_path, resume=True)
        for name in ("alone", "joint", "grouped", "gains", "pairs", "affinity", "cosines"):
            np.testing.assert_array_equal(getattr(again, name), getattr(whole, name))
        assert (again.groups, again.steps) == (whole.groups, whole.steps)
    module = load(company_folder(tmp_path, [2], 3) / "learner.safetensors")
    assert module.scores(named_split(shared_tasks(X, Y).test, "c"))["c"] == whole.alone[1, 2]


@pytest.mark.parametrize(
    ("joint", "grouped", "company", "verdict"),
    [
        (0.2, 0.2, None, "share"),
        (0.2, 0.2, ["b"], "share"),
        (0.2, 0.5, ["b"], "share with b"),
        (-0.2, 0.5, ["b", "c"], "share with b, c"),
        (0.0, 0.5, ["b"], "share with b"),
        (-0.2, 0.0, ["b"], "train alone"),
        (-0.2, 0.0, [], "train alone"),
        (0.0, 0.0, [], "no difference shown"),
        (0.0, -0.5, ["b"], "no difference shown"),
    ],
)
def test_the_rule_of_verdicts(joint: float, grouped: float, company: list[str] | None, verdict: str) -> None:
    noise = np.array([-0.01, 0.0, 0.01])
    assert sharing_verdict(joint + noise, grouped - noise, company) == verdict
    assert sharing_verdict(joint + 100 * noise, grouped - 100 * noise, company) == "no difference shown"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"objectives": {"a": Gaussian()}}, "two or more tasks"),
        ({"objectives": {**OBJECTIVES, "z": Gaussian()}}, "names 'z', of which there are no data; there are a, b, c"),
        ({"objectives": None}, "objectives must be a dict"),
        ({"tasks": X}, "tasks must be NamedTasks"),
        ({"seeds": (1, 1)}, "seeds must be different"),
        ({"seeds": 3}, "seeds must be a list"),
        ({"relations": "all"}, "relations must be 'pairs' or 'affinity'"),
        ({"backward": None}, "backward is set by sharing_report"),
        ({"steps": "ten"}, "steps must be a whole number"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"groups": 0}, "groups must be at least 1"),
        ({"every": 0}, "every must be at least 1"),
        ({"folder": 3}, "folder must be a path"),
        ({"rate": -1.0}, "rate must be positive"),
        ({"choose": None}, "choose must be True or False"),
        ({"make": None}, "make must be a function"),
        ({"make": lambda _: MLP(3)}, "make must build a NamedModule"),
        ({"make": lambda those: SeparateNetworks(MLP(3), those)}, "share nothing that is trained"),
    ],
)
def test_bad_input_is_named_before_anything_is_trained(
    arguments: dict, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quickstudy.evaluation.sharing.fit", None)
    given = {"make": make, "objectives": OBJECTIVES, "tasks": shared_tasks(X, Y), "steps": 1, **arguments}
    with pytest.raises((TypeError, ValueError), match=message):
        sharing_report(**given)
