"""Recipes on named tasks: a number per task and run, paired by run, reported task by task."""

import json
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torchjd.aggregation import MGDA

import quickstudy as qs
from quickstudy.evaluation import gradient_cosines
from quickstudy.multitask import NamedTasks, Objective, SeparateNetworks, SharedBottom, named_tasks, shared_tasks
from quickstudy.networks import MLP
from quickstudy.recipes import NamedContestant, NamedRecipe, Training, report, run, tuned
from quickstudy.reporting import delta_panels
from quickstudy.tasks import Bernoulli, Gaussian
from quickstudy.training import Balanced, Sum

pytestmark = pytest.mark.unchecked  # many small calls


def inputs_and_targets() -> tuple[np.ndarray, dict[str, np.ndarray]]:
    x = np.random.default_rng(0).normal(size=(300, 4)).astype(np.float32)
    sign = {"left": x[:, 0] > 0, "right": x[:, 0] + x[:, 1] > 0}
    return x, {task: y.astype(np.float32) for task, y in sign.items()}


class Signs(NamedRecipe):
    """Two signs of the same inputs."""

    name = "signs"
    claim = "Signs are learned together as well as alone."
    metric = "auc"
    steps = 60

    def data(self) -> NamedTasks:
        return shared_tasks(*inputs_and_targets())

    def objectives(self) -> dict[str, Objective]:
        return {task: Objective(Bernoulli(), metric="auc") for task in ("left", "right")}

    def contestants(self) -> dict[str, NamedContestant]:
        data, known = self.tasks, self.objectives()

        def training(rate: float = 3e-2) -> Training:
            return Training(data.train, self.steps, 32, rate, validation=data.validation, validations=3)

        def bottom() -> SharedBottom:
            return SharedBottom(MLP(4, (8,)), known)

        return {
            "MGDA": NamedContestant(bottom, training(), backward=partial(Balanced, MGDA())),
            "tuned": tuned(
                {f"rate {rate}": NamedContestant(bottom, training(rate), backward=_sum) for rate in (1e-9, 3e-2)}
            ),
            "separate networks": NamedContestant(
                lambda: SeparateNetworks(MLP(4, (8,)), known), training(), role="baseline"
            ),
        }


def _sum(module: torch.nn.Module) -> Sum:
    return Sum()


def test_every_task_is_compared_run_by_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules["quickstudy.recipes.recipe"]._recipes, "signs", Signs)
    recipe = Signs()
    result = run(recipe, tmp_path / "run", seeds=(0, 1, 2), device="cpu", command="quickstudy …")
    learners = result["learners"]
    assert list(learners["MGDA"]["metrics"]) == ["all.auc", "left.auc", "right.auc"]
    assert result["metric"] == "auc"
    assert result["protocol"]["left"] == {
        "what": "one task",
        "metric": "auc",
        "training examples": 180,
        "validation examples": 60,
        "test examples": 60,
        "tasks": 1,
    }
    # Against the modules that lie there, scored by themselves; the interval is Student's over runs.
    scored = {
        name: [
            qs.load(tmp_path / "run" / slug / f"seed{seed}" / "learner").scores(recipe.tasks.test) for seed in range(3)
        ]
        for name, slug in (("MGDA", "mgda"), ("separate networks", "separate-networks"))
    }
    for task in ("left", "right"):
        mine, theirs = (np.array([each[task] for each in scored[name]]) for name in scored)
        assert learners["MGDA"]["metrics"][f"{task}.auc"]["mean"] == pytest.approx(mine.mean())
        (found,) = (each for each in result["differences"] if (each["first"], each["protocol"]) == ("MGDA", task))
        assert found["mean"] == pytest.approx((mine - theirs).mean())
        assert found["ci95"] == pytest.approx(stats.t.ppf(0.975, 2) * stats.sem(mine - theirs))
        assert (found["metric"], found["tasks"], found["seeds"]) == ("auc", 1, 3)
    means = [np.mean(list(each.values())) for each in scored["MGDA"]]
    assert learners["MGDA"]["metrics"]["all.auc"]["mean"] == pytest.approx(np.mean(means))
    assert learners["MGDA"]["metrics"]["left.auc"]["mean"] > 0.8
    # A rate at which nothing is learned is never chosen.
    assert learners["tuned"]["training"]["candidates"] == 2
    assert learners["tuned"]["training"]["chosen"] == ["rate 0.03"] * 3
    page = (tmp_path / "run" / "report.html").read_text()
    for section in ("scores", "learning", "differences", "protocol", "again"):
        assert f'<section id="{section}">' in page
    assert "Every task against separate networks" in page
    assert "left against right. MGDA: left " in page
    assert "1 test tasks" not in page
    report([tmp_path / "run"], tmp_path / "again.html")
    assert (tmp_path / "again.html").read_text() == page


class Watching(Signs):
    """The same training twice, once watched."""

    def contestants(self) -> dict[str, NamedContestant]:
        plain = replace(super().contestants()["tuned"].candidates["rate 0.03"], candidates={})
        return {"plain": plain, "watched": replace(plain, watched=4)}


def test_a_training_is_watched_without_being_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules["quickstudy.recipes.recipe"]._recipes, "signs", Watching)
    recipe = Watching()
    result = run(recipe, tmp_path / "run", seeds=(5,), device="cpu", command="quickstudy …")
    plain, watched = (
        qs.load(tmp_path / "run" / name / "seed5" / "learner").state_dict() for name in result["learners"]
    )
    assert all(torch.equal(plain[name], watched[name]) for name in plain)
    assert list(result["cosines"]) == ["watched"]
    found = result["cosines"]["watched"]
    assert found["steps"] == [0, 15, 30, 45]
    torch.manual_seed(5)
    module = recipe.contestants()["plain"].build()
    begun = gradient_cosines(module, recipe.tasks.train.sample(0, 32, 5))
    assert found["layers"] == list(begun)
    np.testing.assert_allclose(found["values"][0], [float(each[0, 1]) for each in begun.values()], atol=1e-4)
    page = (tmp_path / "run" / "report.html").read_text()
    assert "Cosines of gradients over training, watched" in page
    report([tmp_path / "run"], tmp_path / "again.html")
    assert (tmp_path / "again.html").read_text() == page


def test_a_finished_run_is_not_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run(Signs(), tmp_path / "run", seeds=(0,), device="cpu")
    monkeypatch.setattr(SharedBottom, "forward", None)
    again = run(Signs(), tmp_path / "run", seeds=(0,), device="cpu", resume=True)
    assert json.loads(json.dumps(again)) == json.loads(json.dumps(first))
    assert first["metrics"]["left.auc"]["ci95"] is None  # one task, one run


class Uneven(Signs):
    """A sign and a number: two metrics, and so no mean over tasks."""

    metric = "auc"

    def data(self) -> NamedTasks:
        x, y = inputs_and_targets()
        return named_tasks({"left": (x, y["left"]), "sum": (x, x.sum(1))})

    def objectives(self) -> dict[str, Objective]:
        return {"left": Objective(Bernoulli(), metric="auc"), "sum": Objective(Gaussian())}


def test_tasks_have_metrics_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="tasks with different metrics; it must define merit"):
        run(Uneven(), tmp_path / "refused", device="cpu")
    monkeypatch.setattr(Uneven, "merit", lambda self, scores: scores["left"] - scores["sum"], raising=False)
    result = run(Uneven(), tmp_path / "run", seeds=(0, 1), device="cpu")
    assert list(result["metrics"]) == ["left.auc", "sum.rmse"]
    assert {each["protocol"]: each["metric"] for each in result["differences"]} == {"left": "auc", "sum": "rmse"}
    assert "rmse" in (tmp_path / "run" / "report.html").read_text()


class Many(Signs):
    """Thirteen tasks, which no one looks at one by one."""

    def data(self) -> NamedTasks:
        x, y = inputs_and_targets()
        return shared_tasks(x, {f"task{number}": y["left"] for number in range(13)})

    def objectives(self) -> dict[str, Objective]:
        return {f"task{number}": Objective(Bernoulli()) for number in range(13)}


def test_many_tasks_are_scored_as_one_protocol(tmp_path: Path) -> None:
    result = run(Many(), tmp_path / "run", seeds=(0, 1), device="cpu")
    assert list(result["metrics"]) == ["all.accuracy"]
    assert (result["metrics"]["all.accuracy"]["tasks"], result["metrics"]["all.accuracy"]["seeds"]) == (13, 2)


def test_bad_input_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="candidates must be one or more plain contestants, got none"):
        tuned({})
    with pytest.raises(ValueError, match="those of signs are a fixed set"):
        run(Signs(), tmp_path / "run", device="cpu", probes=True)


def test_right_of_zero_is_better_whatever_the_metric() -> None:
    def difference(task: str, metric: str, mean: float) -> dict[str, Any]:
        about = {"first": "joint", "second": "alone", "words": "", "ci95": 0.1, "tasks": 1}
        return {**about, "protocol": task, "metric": metric, "mean": mean}

    rows = [difference("a", "rmse", -0.5), difference("b", "rmse", 0.25), difference("c", "auc", 0.1)]
    errors, areas = delta_panels(rows)
    assert "joint, a: +0.5; joint, b: -0.25" in errors.svg
    assert "joint, c: +0.1" in areas.svg
    assert not delta_panels(rows[:1])  # a bar on its own is left to the table
    assert not delta_panels([{**row, "tasks": 600} for row in rows])
