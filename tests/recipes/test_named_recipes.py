"""The recipes on named tasks, run with budgets that show nothing but that they run and say what they found."""

import os
from pathlib import Path
from typing import Any

import pytest

from quickstudy.recipes import CensusExperts, MultiMNISTBalancing, ParkinsonsTasks, Recipe, run

from .brief import make_brief

pytestmark = pytest.mark.unchecked  # many small calls, which the checks of shapes would make several times as slow


def needs(folder: str) -> Any:
    missing = not (Path(os.environ.get("QUICKSTUDY_DATA", "")) / folder).exists()
    return pytest.mark.skipif(missing, reason=f"QUICKSTUDY_DATA has no {folder}, on which the recipe runs")


@pytest.fixture(autouse=True)
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    make_brief(monkeypatch)


def tried(recipe: Recipe, place: Path) -> dict[str, Any]:
    result = run(recipe, place, seeds=(0, 1), everyone=True, device="cpu")
    page = (place / "report.html").read_text()
    assert result["claim"] in page
    assert "could not be drawn" not in page
    return result


@needs("mnist")
def test_every_balancing_method_stands_beside_tuned_weights(tmp_path: Path) -> None:
    recipe = MultiMNISTBalancing(MultiMNISTBalancing.Settings(steps=2, batch_size=8, pairs=50))
    result = tried(recipe, tmp_path)
    learners = result["learners"]
    assert [name for name, entry in learners.items() if entry["role"] == "baseline"] == ["separate networks"]
    assert len(learners) == 13
    assert learners["tuned weights"]["training"]["candidates"] == 5
    for entry in learners.values():
        assert set(entry["metrics"]) == {"all.accuracy", "left.accuracy", "right.accuracy"}
    assert {each["protocol"] for each in result["differences"]} == {"all", "left", "right"}
    assert "Of 10 balancing methods" in result["verdict"]


@needs("census_income_kdd")
def test_experts_and_others_are_tuned_alike(tmp_path: Path) -> None:
    result = tried(CensusExperts(CensusExperts.Settings(steps=1, batch_size=8)), tmp_path)
    learners = result["learners"]
    assert list(learners) == ["MMoE", "PLE", "shared bottom", "separate networks"]
    for entry in learners.values():
        assert entry["training"]["candidates"] == 4
        assert len(entry["training"]["chosen"]) == 2
        assert set(entry["metrics"]) == {"all.auc", "income.auc", "marital.auc"}


@needs("parkinsons_telemonitoring")
def test_patients_are_scored_one_by_one(tmp_path: Path) -> None:
    result = tried(ParkinsonsTasks(ParkinsonsTasks.Settings(steps=2)), tmp_path)
    roles = {name: entry["role"] for name, entry in result["learners"].items()}
    assert [name for name, role in roles.items() if role == "baseline"] == ["no pooling", "complete pooling"]
    for entry in result["learners"].values():
        assert (entry["metrics"]["all.rmse"]["tasks"], entry["metrics"]["all.rmse"]["seeds"]) == (42, 2)
        assert entry["metrics"]["all.rmse"]["mean"] < 12  # everyone begins at the mean, in points of the UPDRS
