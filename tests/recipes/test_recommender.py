"""The recommender recipe with a budget that shows nothing but that it runs, and its scores against the truth itself."""

from pathlib import Path

import pytest
import torch
from torch.distributions import Bernoulli

from quickstudy.multitask import NamedModule
from quickstudy.recipes import Recommender, run
from quickstudy.tasks.batch import Tree

from .brief import make_brief

pytestmark = pytest.mark.unchecked  # many small calls, which the checks of shapes would make several times as slow

SETTINGS = Recommender.Settings(steps=3, batch_size=16, users=12, items=15, sessions=300)


def test_runs_and_says_what_it_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_brief(monkeypatch)
    result = run(Recommender(SETTINGS), tmp_path, seeds=(0, 1), everyone=True, device="cpu")
    assert set(result["learners"]) == {"MMoE and tower", "MMoE", "shared bottom", "separate networks"}
    for entry in result["learners"].values():
        assert set(entry["metrics"]) == {
            "wanted.ndcg", "enjoyed.ndcg", "interest.correlation", "click.auc", "engaged.auc", "satisfaction.rmse"
        }  # fmt: skip
    assert "MMoE with the tower minus MMoE: wanted, ndcg" in result["verdict"]
    page = (tmp_path / "report.html").read_text()
    assert result["claim"] in page
    assert "could not be drawn" not in page
    assert "Gates of MMoE and tower, from row to column: click: " in page


def test_who_knows_the_truth_scores_best() -> None:
    recipe = Recommender(SETTINGS)
    log, tests = recipe.tasks, recipe.tests()

    class Knows(NamedModule):
        def raw(self, x: Tree, *_: object) -> torch.Tensor:
            raise NotImplementedError

        def predict(self, task: str, x: Tree, mask: object = None) -> Bernoulli:
            known = {"click": log.attraction, "engaged": log.engagement}[task]
            return Bernoulli(known[x["user"], x["item"]])

    module = Knows(recipe.objectives())
    for name in ("wanted", "enjoyed", "interest"):
        assert tests[name].score is not None
        assert tests[name].score(module) == pytest.approx(1.0, abs=1e-5)
