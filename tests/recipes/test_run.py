"""Every recipe runs end to end in a few steps, and writes what it should."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import quickstudy as qs
from quickstudy.learners import RidgeRegression, SimpleShot
from quickstudy.networks import Conv4
from quickstudy.recipes import GlyphsCompare, OwnTasks, SinusoidMAML, recipes, report, run
from quickstudy.recipes.recipe import Contestant, Training
from quickstudy.reporting import run_folder
from quickstudy.tasks import Categorical, sinusoids

from .brief import make_brief

pytestmark = pytest.mark.unchecked  # many small calls, which the checks of shapes would make twice as slow

needs_omniglot = pytest.mark.skipif(
    not (Path(os.environ.get("QUICKSTUDY_DATA", "")) / "omniglot").exists(),
    reason="QUICKSTUDY_DATA has no omniglot; the glyph recipe runs the same code",
)


@pytest.fixture(autouse=True)
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    make_brief(monkeypatch)


def table(path: Path) -> Path:
    generator = np.random.default_rng(0)
    slope = np.repeat(generator.normal(size=24), 10)
    frame = pd.DataFrame({"clinic": np.repeat(np.arange(24), 10), "dose": generator.normal(size=240)})
    frame["effect"] = slope * frame.dose + 0.1 * generator.normal(size=240)
    frame["worse"] = np.where(frame.effect > 0, "yes", "no")
    frame.to_csv(path, index=False)
    return path


def folder(path: Path) -> Path:
    for number in range(12):
        (path / f"shelf{number}").mkdir(parents=True)
        for image in range(8):
            noise = np.random.default_rng(image).integers(0, 60, (20, 20, 3))
            Image.fromarray((noise + 15 * number).astype(np.uint8)).save(path / f"shelf{number}" / f"{image}.png")
    return path


def check(result: dict[str, Any], place: Path, everyone: bool) -> None:
    assert json.loads((place / "result.json").read_text()) == json.loads(json.dumps(result))
    for value in result["metrics"].values():
        assert set(value) == {"mean", "ci95", "tasks", "seeds"}
        assert np.isfinite(value["mean"])
    page = (place / "report.html").read_text()
    assert result["claim"] in page
    assert "http" not in page
    sections = ["scores", "tasks", "probes", "protocol", "again"]
    if any(entry["training"] for entry in result.get("learners", {"": result}).values()):
        sections.append("learning")
    sections += [section for section in ("calibration", "adaptation") if section in result]
    if everyone:
        sections.append("differences")
        assert result["verdict"] in page.replace("&#39;", "'")
    for section in sections:
        assert f'<section id="{section}">' in page
    assert "could not be drawn" not in page
    # Made again from what lies on disk, it is the same.
    report([place], place / "again.html")
    assert (place / "again.html").read_text() == page
    (place / "again.html").unlink()


def test_glyphs(tmp_path: Path) -> None:
    result = run(GlyphsCompare(GlyphsCompare.Settings(steps=2)), tmp_path / "run", device="cpu", command="quickstudy …")
    check(result, tmp_path / "run", everyone=True)
    assert set(result["learners"]) == {
        "prototypical",
        "in-context",
        "MAML",
        "baseline",
        "baseline++",
        "logistic regression",
        "ridge regression",
        "SimpleShot",
        "nearest neighbour",
        "from scratch",
        "complete pooling",
    }
    assert result["protocol"]["5way1shot"]["separate_groups"] is True
    assert result["learners"]["MAML"]["normalization"] == "support"
    assert result["command"] == "quickstudy …"
    assert qs.load(tmp_path / "run" / "prototypical" / "seed0" / "learner").normalization == "layer"


@pytest.mark.parametrize("name", ["omniglot-prototypical", "omniglot-maml"])
@needs_omniglot
def test_omniglot(name: str, tmp_path: Path) -> None:
    cls = recipes()[name]
    recipe = cls(replace(cls.Settings(), steps=2))
    result = run(recipe, tmp_path / "run", device="cpu")
    check(result, tmp_path / "run", everyone=False)
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        *(["adaptation.json"] if name == "omniglot-maml" else []),
        "checkpoint.pt",
        "config.json",
        "learner.safetensors",
        "log.jsonl",
        "probes.json",
        "report.html",
        "result.json",
        "scores.safetensors",
        "seconds.json",
    ]
    assert "5way1shot.accuracy" in result["metrics"]
    assert set(recipe.contestants()) > {"nearest neighbour", "from scratch"}


def test_sinusoids_of_several_seeds(tmp_path: Path) -> None:
    recipe = SinusoidMAML(SinusoidMAML.Settings(steps=4, tasks=4))
    result = run(recipe, tmp_path / "run", seeds=(0, 1), everyone=True, device="cpu")
    check(result, tmp_path / "run", everyone=True)
    assert result["seeds"] == [0, 1]
    assert result["learners"]["MAML"]["metrics"]["10shot.mse"]["seeds"] == 2
    assert result["learners"]["Bayes-optimal"]["metrics"]["10shot.mse"]["mean"] < 1e-3
    single = json.loads((tmp_path / "run" / "maml" / "seed1" / "result.json").read_text())
    assert single["seed"] == 1


@pytest.mark.parametrize("target", ["effect", "worse"])
def test_your_own_table(target: str, tmp_path: Path) -> None:
    settings = OwnTasks.Settings(data=str(table(tmp_path / "t.csv")), task="clinic", target=target, steps=3)
    result = run(OwnTasks(settings), tmp_path / "run", device="cpu")
    check(result, tmp_path / "run", everyone=True)
    metric = "mse" if target == "effect" else "accuracy"
    assert f"own.{metric}" in result["metrics"]
    assert result["metrics"][f"own.{metric}"]["tasks"] == 5
    # What is left beside the weights takes the table as it is.
    predictor = qs.load(tmp_path / "run" / "in-context" / "seed0" / "predictor.safetensors")
    rows = pd.read_csv(tmp_path / "t.csv")
    rows.loc[::3, target] = None
    assert len(predictor.predict(rows)) == len(rows[::3])


def test_your_own_folder(tmp_path: Path) -> None:
    settings = OwnTasks.Settings(data=str(folder(tmp_path / "images")), ways=2, queries=3, steps=2)
    result = run(OwnTasks(settings), tmp_path / "run", device="cpu")
    check(result, tmp_path / "run", everyone=True)
    assert "prototypical" in result["learners"]


def test_a_finished_run_is_not_repeated_and_not_overwritten(tmp_path: Path) -> None:
    recipe = SinusoidMAML(SinusoidMAML.Settings(steps=4, tasks=4))
    first = run(recipe, tmp_path / "run", device="cpu")
    with pytest.raises(FileExistsError, match="holds a run of sinusoid-maml; pass --resume, or another --out"):
        run(recipe, tmp_path / "run", device="cpu")
    again = run(recipe, tmp_path / "run", device="cpu", resume=True)
    assert again["metrics"] == first["metrics"]
    assert again["seconds"] == first["seconds"]
    other = SinusoidMAML(SinusoidMAML.Settings(steps=5, tasks=4))
    with pytest.raises(ValueError, match="other settings: steps was 4, now 5; choose another --out"):
        run(other, tmp_path / "run", device="cpu", resume=True)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    with pytest.raises(FileExistsError, match="is not empty and holds no run"):
        run(recipe, tmp_path / "mine", device="cpu")
    with pytest.raises(FileExistsError, match="thesis.txt is a file; choose another --out, a folder"):
        run(recipe, tmp_path / "mine" / "thesis.txt", device="cpu")


def test_an_interrupted_run_goes_on_exactly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second of two seeds is interrupted in training; resumed, all numbers are those of a run in one go."""
    recipe = SinusoidMAML(SinusoidMAML.Settings(steps=30, tasks=4))
    whole = run(recipe, tmp_path / "whole", seeds=(0, 1), device="cpu")
    calls = []
    forward = qs.learners.MAML.forward

    def interrupted(self: qs.learners.MAML, batch: qs.TaskBatch, directly: bool = False) -> Any:
        if self.training and not directly:  # once a step, and never in validation
            calls.append(1)
        if len(calls) == 45:
            raise KeyboardInterrupt
        return forward(self, batch, directly)

    monkeypatch.setattr(qs.learners.MAML, "forward", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(recipe, tmp_path / "cut", seeds=(0, 1), device="cpu")
    assert not (tmp_path / "cut" / "result.json").exists()
    monkeypatch.undo()
    make_brief(monkeypatch)
    resumed = run(recipe, tmp_path / "cut", seeds=(0, 1), device="cpu", resume=True)
    assert resumed["metrics"] == whole["metrics"]


def test_bad_input_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="own-tasks needs --data"):
        OwnTasks()
    with pytest.raises(ValueError, match="a table needs --task"):
        OwnTasks(OwnTasks.Settings(data=str(table(tmp_path / "t.csv"))))
    recipe = SinusoidMAML(SinusoidMAML.Settings(steps=1, tasks=2))
    for seeds in ((), (0, 0), (-1,)):
        with pytest.raises(ValueError, match="seeds must be different numbers of at least 0"):
            run(recipe, tmp_path / "run", seeds=seeds)


def test_the_rate_rises_and_falls() -> None:
    import torch

    for steps in (1, 2, 7, 100):
        training = Training(sinusoids(1).train, steps, 1, rate=0.5)
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(()))], lr=0.5)
        schedule = training.arguments()["schedule"](optimizer)
        rates = []
        for _ in range(steps):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedule.step()
        top = rates.index(max(rates))
        assert rates[top] == pytest.approx(0.5)
        assert top == max(0, steps // 5 - 1)
        assert rates == sorted(rates[: top + 1]) + sorted(rates[top + 1 :], reverse=True)
        assert all(rate > 0 for rate in rates)


class _Namesakes(SinusoidMAML):
    """Two contestants whose names differ in what a folder's name cannot show."""

    def contestants(self) -> dict[str, Contestant]:
        nearest = super().contestants()["nearest neighbour"]
        return {"nearest one": nearest, "nearest, one": nearest}


def test_contestants_never_share_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'nearest one' and 'nearest, one' would share a folder"):
        run(_Namesakes(), tmp_path / "run", everyone=True, device="cpu")
    assert not (tmp_path / "run").exists()
    places = {run_folder(tmp_path, name, 0, 4, 1) for name in ("baseline", "baseline++", "기준", "方法")}
    assert len(places) == 4


def test_a_head_takes_over_the_weights_of_its_seed(tmp_path: Path) -> None:
    class Heads(GlyphsCompare):
        def contestants(self) -> dict[str, Contestant]:
            pool = self._pool.all_classes(20)
            known, network = Categorical(pool.ways), lambda: Conv4(filters=8, normalization="layer")
            return {
                "trained": Contestant(lambda: SimpleShot(network(), known), Training(pool, 2, 1), role="transfer"),
                "other head": Contestant(lambda: RidgeRegression(network(), known), role="transfer", like="trained"),
            }

    result = run(Heads(), tmp_path, seeds=[0, 1], everyone=True, device="cpu")
    assert result["learners"]["other head"]["training"] == {"weights of": "trained"}
    for seed in (0, 1):
        mine, theirs = (
            qs.load(tmp_path / name / f"seed{seed}" / "learner.safetensors").state_dict()
            for name in ("trained", "other-head")
        )
        assert all(torch.equal(mine[key], theirs[key]) for key in theirs)

    class Backwards(Heads):
        def contestants(self) -> dict[str, Contestant]:
            return dict(reversed(super().contestants().items()))

    with pytest.raises(ValueError, match="must name one that stands before it"):
        run(Backwards(), tmp_path / "backwards", everyone=True, device="cpu")
