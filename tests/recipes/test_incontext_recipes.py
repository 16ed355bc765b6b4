"""Recipes about functions learned in context, run with budgets that show nothing but that they run and say so."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from quickstudy.recipes import InContextFunctions, InContextLinear, Recipe, run

from .brief import make_brief

pytestmark = pytest.mark.unchecked  # many small calls, which the checks of shapes would make several times as slow


def tried(cls: type[Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> dict[str, Any]:
    make_brief(monkeypatch, test_tasks=8)
    recipe = cls(replace(cls.Settings(), steps=1, tasks=2, **settings))
    return run(recipe, tmp_path / "run", everyone=True, device="cpu")


@pytest.mark.parametrize(("noise", "best"), [(0.0, "least squares"), (0.5, "ridge regression")])
def test_lines_are_scored_after_every_number_of_examples(
    noise: float, best: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = tried(InContextLinear, tmp_path, monkeypatch, noise=noise)
    assert set(result["learners"]) == {"decoder", "set transformer", "nearest neighbour", best}
    assert result["tests at"] == {
        **{f"{shots}shot": shots for shots in (10, 1, 2, 5, 6, 15)},
        **{f"scale{scale} {shots}shot": shots for scale in (2, 3) for shots in (5, 10)},
    }
    assert result["learners"][best]["role"] == "optimum"
    metrics = result["learners"][best]["metrics"]
    if not noise:
        assert metrics["10shot.mse"]["mean"] < 1e-3 < metrics["2shot.mse"]["mean"]
        assert metrics["scale3 10shot.mse"]["mean"] < 1e-2
    assert f"decoder against {best} at 10shot: worse" in result["answer"]


@pytest.mark.parametrize(
    ("family", "references"),
    [
        ("trees", {"greedy tree", "boosted trees"}),
        ("sparse", {"lasso", "least squares", "Bayes-optimal"}),
        ("relu", {"least squares"}),
    ],
)
def test_every_family_has_its_references(
    family: str, references: set, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = tried(InContextFunctions, tmp_path, monkeypatch, family=family)
    assert set(result["learners"]) == {"decoder", "set transformer", "nearest neighbour"} | references
    assert result["axis"] == "examples"
    assert result["answer"].startswith(f"Mean squared errors on {family}")


def test_an_unknown_family_is_named() -> None:
    with pytest.raises(ValueError, match="family must be one of trees, sparse, relu, got 'cubic'"):
        InContextFunctions(InContextFunctions.Settings(family="cubic"))
