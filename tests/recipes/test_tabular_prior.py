from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from quickstudy.recipes import TabularOwnTables, TabularPrior, run

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


@pytest.mark.parametrize("kind", ["classification", "regression"])
def test_own_tables_with_and_without_the_prior(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_brief(monkeypatch, test_tasks=4)
    generator, folder = np.random.default_rng(0), tmp_path / "tables"
    folder.mkdir()
    for number in range(6):
        x = generator.normal(size=(40, 3))
        y = x.sum(1) if kind == "regression" else (x.sum(1) > 0).astype(int)
        pd.DataFrame(x, columns=["a", "b", "c"]).assign(outcome=y).to_csv(folder / f"{number}.csv", index=False)
    settings = TabularOwnTables.Settings(data=str(folder), target="outcome", kind=kind, steps=1, tasks=2, shots=16)
    result = run(TabularOwnTables(settings), tmp_path / "run", everyone=True, device="cpu")
    assert list(result["learners"])[:3] == ["prior, then own tables", "own tables", "prior"]
    assert result["protocol"]["held-out tables"]["test tables"]
    with pytest.raises(ValueError, match="kind must be classification or regression, got 'ranking'"):
        TabularOwnTables(replace(settings, kind="ranking"))
