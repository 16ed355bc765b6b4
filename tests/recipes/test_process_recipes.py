"""Recipes about neural processes, run with budgets that show nothing but that they run and say what they found."""

from dataclasses import replace
from pathlib import Path

import pytest

from quickstudy.recipes import GPProcesses, QuestionContextSize, QuestionSetOrSequence, run

from .brief import make_brief

pytestmark = pytest.mark.unchecked  # many small calls, which the checks of shapes would make several times as slow


@pytest.mark.parametrize("matern", [False, True])
def test_processes_are_scored_where_they_were_trained_and_where_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, matern: bool
) -> None:
    make_brief(monkeypatch, test_tasks=8)
    recipe = GPProcesses(replace(GPProcesses.Settings(), steps=1, tasks=2, width=16, matern=matern))
    result = run(recipe, tmp_path / "run", everyone=True, device="cpu")
    own, other = ("matern52", "rbf") if matern else ("rbf", "matern52")
    for entry in result["learners"].values():
        assert set(entry["metrics"]) >= {f"{name}.nll" for name in (own, f"{own}-outside", other)}
    score = {name: entry["metrics"][f"{own}.nll"]["mean"] for name, entry in result["learners"].items()}
    assert min(score, key=score.__getitem__) in ("exact, rbf", "exact, matern52")
    for name in (own, f"{own}-outside", other):
        assert f"n {name}, " in result["answer"]


def test_contexts_differ_in_size_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_brief(monkeypatch, test_tasks=8)
    recipe = QuestionContextSize(replace(QuestionContextSize.Settings(), steps=1, tasks=2))
    result = run(recipe, tmp_path / "run", everyone=True, device="cpu")
    points = {entry["at"]: entry for entry in result["learners"].values() if entry.get("series")}
    assert set(points) == {1, 2, 4, 8, 16, 32, 64}
    assert result["learners"]["Bayes-optimal"]["metrics"]["10shot.mse"]["mean"] < 0.2
    assert "Squared error by the numbers in h: 1: " in result["answer"]
    assert "on no more is shown to help" in result["answer"]


def test_a_set_and_a_sequence_keep_as_many_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_brief(monkeypatch, test_tasks=8)
    recipe = QuestionSetOrSequence(replace(QuestionSetOrSequence.Settings(), steps=1, tasks=2))
    kept = []
    for contestant in list(recipe.contestants().values())[:2]:
        learner = contestant.build()
        phi = learner.adapt(recipe.tests()["5shot"].test.draw(0, 1, 0).support)
        kept.append(sum(phi[name].numel() for name in ("h", "hidden", "cell") if name in phi))
    assert kept == [64, 64]
    result = run(recipe, tmp_path / "run", everyone=True, device="cpu")
    assert "with 40 examples, more than in training: " in result["answer"]
