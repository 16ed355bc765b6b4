"""The recipes on named tasks, run with budgets that show nothing but that they run and say what they found."""

import os
from pathlib import Path
from typing import Any

import pytest

from quickstudy.recipes import MultiMNISTBalancing, Recipe, run

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
