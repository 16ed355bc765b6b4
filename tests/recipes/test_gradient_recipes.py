"""Recipes about the inner loop, run with budgets that show nothing but that they run and say what they found."""

import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from quickstudy.learners import MAML, GradientLearner, MetaSGD
from quickstudy.recipes import (
    InnerLoopQuestions,
    MetaGradientMemory,
    OmniglotGradientCompare,
    OmniglotMAML,
    Recipe,
    SinusoidGradientCompare,
    run,
)

from .brief import make_brief

pytestmark = pytest.mark.unchecked  # many small calls, which the checks of shapes would make several times as slow

needs_omniglot = pytest.mark.skipif(
    not (Path(os.environ.get("QUICKSTUDY_DATA", "")) / "omniglot").exists(),
    reason="QUICKSTUDY_DATA has no omniglot, on which these recipes run",
)


def tried(cls: type[Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> dict[str, Any]:
    make_brief(monkeypatch, test_tasks=8)
    recipe = cls(replace(cls.Settings(), steps=1, tasks=2, **settings))
    return run(recipe, tmp_path / "run", everyone=True, device="cpu")


def test_sinusoids_are_scored_after_every_number_of_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = tried(SinusoidGradientCompare, tmp_path, monkeypatch)
    learners = result["learners"]
    for name in ("MAML", "first-order MAML", "ANIL", "Meta-SGD", "MAML++", "implicit MAML", "Reptile", "CAVIA"):
        points = {entry["at"]: entry for entry in learners.values() if entry.get("series") == name}
        assert set(points) == {0, 1, 5, 10}
        assert points[10]["training"] == {"weights of": f"{name}, 5 steps"}
        scores = {at: entry["metrics"]["10shot.mse"]["mean"] for at, entry in points.items()}
        assert len(set(scores.values())) == 4
    assert learners["Bayes-optimal"]["metrics"]["10shot.mse"]["mean"] < 1e-3
    assert learners["MAML, 5 steps"]["tasks_at_once"] == "by device"
    assert "tasks_at_once" not in learners["R2-D2"]


@needs_omniglot
def test_the_family_is_scored_at_other_shots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = tried(OmniglotGradientCompare, tmp_path, monkeypatch, filters=4)
    assert result["axis"] == "shots"
    for entry in result["learners"].values():
        assert set(entry["metrics"]) >= {f"5way{shots}shot.accuracy" for shots in (1, 5, 10)}
    assert {entry["normalization"] for entry in result["learners"].values()} == {"support", "layer", "none"}


@needs_omniglot
def test_everyone_sees_as_many_drawings() -> None:
    recipe, shown = OmniglotGradientCompare(), set()
    for contestant in recipe.contestants().values():
        if contestant.training is not None:
            batch = contestant.training.tasks.draw(0, contestant.training.batch_size, 0)
            shown.add(int(batch.support.mask.sum() + batch.query.mask.sum()))
    assert shown == {80}


@needs_omniglot
def test_four_questions_get_four_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = tried(InnerLoopQuestions, tmp_path, monkeypatch, filters=4)
    said = result["answer"]
    assert re.search(r"First order against second, by inner steps: at 1, .*; at 3, .*; at 5, .*\. 5 inner steps", said)
    assert "5 inner steps against 1: " in said
    assert re.search(r"Learned rates against fixed ones, by inner steps: at 1, .*; at 5, ", said)
    assert re.search(r"at 3 inner steps: transductive, .*; task, .*; layer, .*; none, .*; scales, shifts", said)
    used = {entry["normalization"] for entry in result["learners"].values()}
    assert used == {"support", "transductive", "task", "layer", "none"}


def test_memory_and_bias_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = tried(MetaGradientMemory, tmp_path, monkeypatch, inner_steps=4)["answer"]
    needed = {name: (float(few), float(many)) for name, few, many in re.findall(
        r"([\w ]+): ([\d.]+) MiB at 1 inner step, ([\d.]+) at 4", said
    )}  # fmt: skip
    assert len(needed) == 6
    assert needed["exact"][1] > 2 * needed["exact"][0]
    assert needed[" implicit"][1] == needed[" implicit"][0]
    assert "exact: " in said
    assert re.search(r"cosine to exact 1\.000; recomputed", said)


@needs_omniglot
@pytest.mark.parametrize(
    ("settings", "cls"),
    [({}, MAML), ({"learn_inner_rates": True}, MetaSGD), ({"adapting": "^head"}, MAML), ({"first_order": True}, MAML)],
)
def test_options_of_omniglot_maml(settings: dict[str, Any], cls: type[GradientLearner]) -> None:
    learner = OmniglotMAML(replace(OmniglotMAML.Settings(), filters=4, **settings)).contestants()["MAML"].build()
    assert type(learner) is cls
    assert type(learner.meta_gradient).__name__ == ("FirstOrder" if settings.get("first_order") else "Exact")
    assert len(learner._adapted) == (2 if "adapting" in settings else len(list(learner.predictor.parameters())))
