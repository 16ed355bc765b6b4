"""The dial: who is trained on what, and what is said of it."""

from pathlib import Path

import numpy as np
import pytest
import torch

from quickstudy.evaluation import Scores
from quickstudy.recipes import RelatednessDial, run
from quickstudy.reporting import Outcome

pytestmark = pytest.mark.unchecked  # many small calls


def test_only_the_company_changes() -> None:
    recipe = RelatednessDial()
    first = None
    for contestant in recipe.contestants().values():
        batch = contestant.training.tasks.sample(0, 60, 0)
        first = batch["first"] if first is None else first
        assert torch.equal(batch["first"].x, first.x)
        assert torch.equal(batch["first"].y, first.y)
        assert list(contestant.build()(batch)) == list(batch)
    same = recipe.related(1.0)
    assert torch.equal(same.weights[0], same.weights[1])
    assert not recipe.related(None).labelled


def test_the_answer_says_where_sharing_harms() -> None:
    recipe = RelatednessDial()
    outcomes = {}
    for name, contestant in recipe.contestants().items():
        level = {"p = 1": 0.5, "p = 0": 1.5, "random labels": 2.0}.get(name.rpartition(", ")[2], 1.0)
        runs = [{"first": Scores({"rmse": np.array([level + 0.01 * seed * (name != "alone")])})} for seed in (-1, 0, 1)]
        outcomes[name] = Outcome(contestant.role, runs, [1.0] * 3, series=contestant.series, at=contestant.at)
    answer = recipe.answer(outcomes)
    assert answer.count("p = 1 +50.0 ± 2.5%: share;") == 2
    assert answer.count("p = 0.5 +0.0 ± 2.5%: no difference shown") == 2
    assert answer.count("p = 0 -50.0 ± 2.5%: train alone") == 2
    assert answer.count("random labels -100.0 ± 2.5%: train alone") == 2


def test_runs_and_reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quickstudy.recipes.relatedness_dial._DIAL", (1.0, -1.0))
    recipe = RelatednessDial(RelatednessDial.Settings(steps=2))
    result = run(recipe, tmp_path / "run", seeds=(0,), everyone=True, device="cpu", command="quickstudy …")
    assert len(result["learners"]) == 7
    assert "shared bottom: p = 1" in result["answer"]
    page = (tmp_path / "run" / "report.html").read_text()
    assert "cosine p between the weights of the two tasks" in page
    assert "Gates of MMoE at every p" in page
    assert "; p = −1, second: 1 " in page
