"""The recipe that says of the targets of a table which to learn together, on a table where that is known."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import quickstudy as qs
from quickstudy.evaluation import sharing
from quickstudy.multitask import Assembled, MultiGateMixture, SharedBottom
from quickstudy.recipes import WhenToShare, report, run

pytestmark = pytest.mark.unchecked  # many small trainings

ROWS = 300


def table(path: Path) -> str:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(ROWS, 4))
    frame = pd.DataFrame(x, columns=["one", "two", "three", "four"])
    frame["weight"] = x[:, 0] + 0.5 * generator.normal(size=ROWS)
    frame["height"] = x[:, 0] - x[:, 1] + 0.5 * generator.normal(size=ROWS)
    frame["well"] = np.where(x[:, 2] > 0, "yes", "no")
    frame.loc[::4, "well"] = None
    frame["note"] = frame.weight  # would give the first target away
    frame.to_csv(path / "table.csv", index=False)
    return str(path / "table.csv")


def recipe(path: Path, **settings: object) -> WhenToShare:
    given = {"targets": "weight, height,well", "ignore": "note", "steps": 20, "batch_size": 16, "width": 8, **settings}
    return WhenToShare(WhenToShare.Settings(table(path), **given))  # type: ignore[arg-type]


def test_every_target_has_a_verdict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, place = recipe(tmp_path), tmp_path / "run"
    result = run(made, place, seeds=(0, 1), device="cpu")
    assert list(result["learners"]) == ["together", "in groups", "alone"]
    found = made.found
    assert found is not None
    for number, (task, metric) in enumerate((("weight", "rmse"), ("height", "rmse"), ("well", "auc"))):
        assert f"{task}: {found.verdicts[task]}" in result["verdict"]
        alone = result["learners"]["alone"]["metrics"][f"{task}.{metric}"]
        assert alone["mean"] == pytest.approx(found.alone[:, number].mean(), rel=1e-6)
        together = result["learners"]["together"]["metrics"][f"{task}.{metric}"]
        sign = 1 if metric == "auc" else -1
        implied = found.alone[:, number] * (1 + sign * found.joint[:, number])
        assert together["mean"] == pytest.approx(implied.mean(), rel=1e-5)
    assert "standard deviation" in result["protocol"]["weight"]["unit"]
    assert result["protocol"]["well"]["classes"] == "no, yes"
    for task, known in (("weight", ROWS), ("well", ROWS * 3 // 4)):
        assert sum(result["protocol"][task][f"{part} examples"] for part in ("training", "validation", "test")) == known
    page = (place / "report.html").read_text()
    assert "Every task against itself alone" in page
    module = qs.load(place / "alone" / "seed0" / "learner.safetensors")
    assert isinstance(module, Assembled)
    assert module.tasks == ("weight", "height", "well")
    assert isinstance(module.parts[0], SharedBottom)
    assert module.parts[0].network.inputs == 4  # the ignored column is not read
    predictor = qs.load(place / "alone" / "seed0" / "predictor.safetensors")
    rows = pd.read_csv(made.settings.data).drop(columns=["weight", "height", "well"])
    assert list(predictor.predict(rows).columns) == ["weight", "height", "well", "well: no", "well: yes"]
    # The page again from disk, without training.
    monkeypatch.setattr(sharing.Watched, "__call__", None)
    report([place], tmp_path / "again.html")
    assert (tmp_path / "again.html").read_text() == page


def test_an_interrupted_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = partial(recipe, tmp_path, experts=2, relations="affinity", groups=2)
    whole = run(made(), tmp_path / "whole", seeds=(0,), device="cpu")
    fit, calls = sharing.fit, []

    def interrupted(*args: object, **kwargs: object) -> object:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return fit(*args, **kwargs)

    monkeypatch.setattr(sharing, "fit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(made(), tmp_path / "run", seeds=(0,), device="cpu")
    result = run(made(), tmp_path / "run", seeds=(0,), device="cpu", resume=True)
    assert result["verdict"] == whole["verdict"]
    for name, entry in whole["learners"].items():
        assert result["learners"][name]["metrics"] == entry["metrics"]
    (together,) = (tmp_path / "run" / "together").rglob("learner.safetensors")
    assert isinstance(qs.load(together), MultiGateMixture)
    assert json.loads((tmp_path / "run" / "config.json").read_text())["settings"]["experts"] == 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"targets": ""}, "when-to-share needs --data, a CSV file, and --targets"),
        ({"targets": "weight"}, "two or more of its columns"),
        ({"targets": "weight,wel"}, "did you mean 'well'"),
        ({"ignore": "nte"}, "ignore names the column 'nte'.* did you mean 'note'"),
        ({"relations": "all"}, "relations must be one of pairs, affinity, got 'all'"),
        ({"groups": -1}, "groups must be at least 1, or 0 for any number, got -1"),
        ({"experts": -1}, "experts"),
        ({"width": 0}, "width must be at least 1, got 0"),
        ({"steps": 0}, "steps and batch_size .tasks per step. must be at least 1"),
    ],
)
def test_what_it_refuses(settings: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        run(recipe(tmp_path, **settings), tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()
