"""The recipes on named tasks, run with budgets that show nothing but that they run and say what they found."""

import math
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from quickstudy.recipes import BalancingToy, CensusExperts, MultiMNISTBalancing, ParkinsonsTasks, Recipe, report, run
from quickstudy.recipes.balancing_toy import pareto_front, toy_losses

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
@pytest.mark.skipif(find_spec("cvxpy") is None, reason="the solvers of CAGrad are not installed")
def test_every_balancing_method_stands_beside_tuned_weights(tmp_path: Path) -> None:
    recipe = MultiMNISTBalancing(MultiMNISTBalancing.Settings(steps=2, batch_size=8, pairs=50))
    result = tried(recipe, tmp_path)
    learners = result["learners"]
    assert [name for name, entry in learners.items() if entry["role"] == "baseline"] == ["separate networks"]
    assert len(learners) == 17
    assert learners["tuned weights"]["training"]["candidates"] == 5
    for entry in learners.values():
        assert set(entry["metrics"]) == {"all.accuracy", "left.accuracy", "right.accuracy"}
    assert {each["protocol"] for each in result["differences"]} == {"all", "left", "right"}
    assert "Of 14 balancing methods" in result["verdict"]
    watched = result["cosines"]["equal weights"]
    assert (watched["tasks"], watched["steps"], len(watched["layers"])) == (["left", "right"], [0, 1], 3)
    page = (tmp_path / "report.html").read_text()
    for title in ("Cosines of gradients over training, equal weights", "Cosines of gradients at the end"):
        assert f"<p>{title}</p>" in page
    assert "<p>left against right</p>" in page


@needs("census_income_kdd")
def test_experts_and_others_are_tuned_alike(tmp_path: Path) -> None:
    result = tried(CensusExperts(CensusExperts.Settings(steps=1, batch_size=8)), tmp_path)
    learners = result["learners"]
    assert list(learners) == ["MMoE", "PLE", "shared bottom", "separate networks"]
    for entry in learners.values():
        assert entry["training"]["candidates"] == 4
        assert len(entry["training"]["chosen"]) == 2
        assert set(entry["metrics"]) == {"all.auc", "income.auc", "marital.auc"}
    page = (tmp_path / "report.html").read_text()
    assert "Gates of MMoE" in page
    assert "Gates of PLE" in page
    report([tmp_path], tmp_path / "again.html")
    assert (tmp_path / "again.html").read_text() == page


@needs("parkinsons_telemonitoring")
def test_patients_are_scored_one_by_one(tmp_path: Path) -> None:
    result = tried(ParkinsonsTasks(ParkinsonsTasks.Settings(steps=2)), tmp_path)
    roles = {name: entry["role"] for name, entry in result["learners"].items()}
    assert [name for name, role in roles.items() if role == "baseline"] == ["no pooling", "complete pooling"]
    for entry in result["learners"].values():
        assert (entry["metrics"]["all.rmse"]["tasks"], entry["metrics"]["all.rmse"]["seeds"]) == (42, 2)
        assert entry["metrics"]["all.rmse"]["mean"] < 12  # everyone begins at the mean, in points of the UPDRS
    page = (tmp_path / "report.html").read_text()
    assert "Gates of MMoE" in page
    assert page.count("Gates of") == 2  # the title, and what is said of the figure


def test_the_front_of_the_toy_is_beaten_by_no_one() -> None:
    places, losses = pareto_front()
    assert losses[:, 0].min() == pytest.approx(-20, abs=0.02)
    assert places[:, 0].min() == pytest.approx(-7, abs=0.05)
    assert places[:, 0].max() == pytest.approx(7, abs=0.05)
    torch.manual_seed(0)
    anywhere = toy_losses(20 * torch.rand(20_000, 2, dtype=torch.float64) - 10)
    better = (anywhere[:, None] < losses[None, ::20] - 1e-3).all(-1)
    assert not better.any()
    # From the papers' formulas, by hand: above zero only the valleys count, below it only the bowls.
    assert toy_losses(torch.tensor([7.0, -8.0]))[0] == pytest.approx(-20 * math.tanh(4), abs=1e-3)
    valley = math.tanh(1) * (math.log(abs(0.5 * (-1 - 7) + math.tanh(2))) + 6)
    assert toy_losses(torch.tensor([1.0, 2.0]))[0] == pytest.approx(valley, abs=1e-5)


@pytest.mark.skipif(find_spec("cvxpy") is None, reason="the solvers of CAGrad are not installed")
def test_paths_over_the_toy_are_drawn(tmp_path: Path) -> None:
    recipe = BalancingToy(BalancingToy.Settings(steps=30, rate=0.3, more=1))
    result = tried(recipe, tmp_path)
    assert list(result["learners"]) == ["CAGrad", "MGDA", "PCGrad", "FAMO", "UPGrad", "plain sum"]
    assert result["metrics"]["starts.distance"]["tasks"] == 6
    page = (tmp_path / "report.html").read_text()
    assert '<section id="figures">' in page
    report([tmp_path], tmp_path / "again.html")
    assert (tmp_path / "again.html").read_text() == page
