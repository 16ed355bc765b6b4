"""Recipes about networks that read the support, run with budgets that show nothing but that they run."""

import os
import re
from dataclasses import replace
from pathlib import Path

import pytest

from quickstudy.learners import RecurrentLearner
from quickstudy.recipes import ICLEmergence, OmniglotBlackboxCompare, OmniglotLSTM, run

from .brief import make_brief

pytestmark = [
    pytest.mark.unchecked,  # many small calls, which the checks of shapes would make several times as slow
    pytest.mark.skipif(
        not (Path(os.environ.get("QUICKSTUDY_DATA", "")) / "omniglot").exists(),
        reason="QUICKSTUDY_DATA has no omniglot, on which these recipes run",
    ),
]


def test_the_family_beside_prototypes_and_plain_transfer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_brief(monkeypatch, test_tasks=8)
    recipe = OmniglotBlackboxCompare(replace(OmniglotBlackboxCompare.Settings(), steps=1, tasks=2, filters=4))
    result = run(recipe, tmp_path / "run", everyone=True, device="cpu")
    assert [name for name, entry in result["learners"].items() if entry["role"] == "learner"] == [
        "LSTM", "memory-augmented", "SNAIL", "conditional neural process", "attentive neural process", "in-context",
        "prototypical",
    ]  # fmt: skip
    assert {"baseline", "SimpleShot", "nearest neighbour"} < set(result["learners"])
    assert all("5way1shot.accuracy" in entry["metrics"] for entry in result["learners"].values())


def test_everyone_takes_as_many_steps_and_sees_as_many_drawings() -> None:
    recipe, shown = OmniglotBlackboxCompare(), set()
    for contestant in recipe.contestants().values():
        if contestant.training is not None:
            batch = contestant.training.tasks.draw(0, contestant.training.batch_size, 0)
            shown.add((contestant.training.steps, int(batch.support.mask.sum() + batch.query.mask.sum())))
    assert shown == {(recipe.settings.steps, 160)}


def test_an_lstm_is_asked_at_every_number_of_ways(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_brief(monkeypatch, test_tasks=8)
    settings = replace(OmniglotLSTM.Settings(), steps=1, tasks=2, filters=4, width=8, labels="shifted")
    result = run(OmniglotLSTM(settings), tmp_path / "run", everyone=True, device="cpu")
    assert result["axis"] == "ways"
    for ways in (2, 3, 4, 5):
        scored = set(result["learners"][f"LSTM, {ways}-way"]["metrics"])
        assert {name for name in scored if name.endswith(".accuracy")} == {
            f"{asked}way1shot.accuracy" for asked in range(2, ways + 1)
        }
        assert f"{ways}way1shot.accuracy" in result["learners"]["LSTM"]["metrics"]
    four = r"(?:\d+\.\d ± \d+\.\d(?:, )?){4}"
    assert re.fullmatch(
        rf"Accuracy in percent at 2, 3, 4, 5 ways: of an LSTM trained for each, {four}; of one for all, {four}; "
        rf"of prototypes, {four}; of the nearest neighbour, {four}\.",
        result["answer"],
    )


def test_labels_of_the_lstm() -> None:
    for labels in ("beside", "shifted"):
        learner = OmniglotLSTM(replace(OmniglotLSTM.Settings(), labels=labels)).contestants()["LSTM, 3-way"].build()
        assert type(learner) is RecurrentLearner
        assert learner.labels == labels


def test_where_learning_in_context_comes_from_is_asked_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_brief(monkeypatch, test_tasks=8)
    settings = replace(ICLEmergence.Settings(), classes=12, steps=1, tasks=2, filters=4, width=8, layers=1)
    result = run(ICLEmergence(settings), tmp_path / "run", everyone=True, device="cpu")
    assert result["axis"] == "share of bursty sequences"
    assert {entry["series"] for entry in result["learners"].values()} == {"uniform classes", "long tail"}
    for entry in result["learners"].values():
        assert {"in-context.accuracy", "in-weights.accuracy"} <= set(entry["metrics"])
    assert re.search(r"without bursts, \d+\.\d ± \S+ with them alone", result["verdict"])
