from dataclasses import replace
from pathlib import Path

import pytest

from quickstudy.recipes import TabularPrior, run

from .brief import make_brief

pytestmark = pytest.mark.unchecked


@pytest.mark.parametrize(("kind", "metric"), [("classification", "accuracy"), ("regression", "mse")])
def test_trains_on_tables_of_either_kind(
    kind: str, metric: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_brief(monkeypatch, test_tasks=4)
    settings = replace(TabularPrior.Settings(), kind=kind, steps=1, tasks=2, width=8, layers=1, features=3)
    result = run(TabularPrior(settings), tmp_path / "run", everyone=True, device="cpu")
    assert set(result["learners"]) == {"in-context", "nearest neighbour", "from scratch"}
    for entry in result["learners"].values():
        assert set(entry["metrics"]) >= {f"prior.{metric}", "prior.nll"}
    assert any((tmp_path / "run").rglob("in-context*/**/learner.safetensors"))
