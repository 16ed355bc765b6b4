"""Raw rows to predictions, after a round through a file: what the learner itself says of the same numbers."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose

import quickstudy as qs
from quickstudy.estimators import TablePredictor, TargetsPredictor
from quickstudy.learners import FromScratch, InContextTransformer, NearestNeighbour
from quickstudy.multitask import SharedBottom, tasks_from_table
from quickstudy.networks import MLP
from quickstudy.tasks import Categorical, Gaussian, from_table

ROWS = 160
DRAW = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {
        "patient": np.repeat(np.arange(20), 8),
        "dose": DRAW.normal(size=ROWS),
        "weight": np.where(DRAW.random(ROWS) < 0.2, np.nan, 70.0),
        "ward": DRAW.choice(["north", "south"], ROWS),
        "score": DRAW.normal(50, 10, ROWS),
        "grade": DRAW.choice(["a", "b", "c"], ROWS),
    }
)
FEATURES = ["dose", "weight", "ward"]


def asked(target: str) -> pd.DataFrame:
    """Rows of three new patients, with an index of their own; of the last nothing is known."""
    new = FRAME.iloc[:24].assign(patient=np.repeat(["x", "y", "z"], 8))
    new.index = [f"row{number}" for number in range(24)]
    hidden = [1, 4, 9, 10, 11, *range(16, 24)]
    return new.assign(**{target: new[target].astype(object).where(~np.isin(np.arange(24), hidden), None)})


def saved(predictor: Any, folder: Path) -> Any:
    return qs.load(qs.save(predictor, folder / "predictor"))


def test_regression(tmp_path: Path) -> None:
    source = from_table(FRAME, task="patient", target="score", features=FEATURES, shots=3)
    torch.manual_seed(0)
    learner = InContextTransformer(MLP(source.columns(FRAME).shape[1], (8,)), Gaussian(variance=None), width=8)
    table = asked("score")
    table["score"] = table["score"].astype(float)
    found = saved(TablePredictor.of(learner, source), tmp_path).predict(table)
    assert list(found.columns) == ["patient", "score", "score std"]
    assert list(found.index) == list(table.index[table.score.isna()])
    x = torch.from_numpy(source.columns(table)).float()
    mean, std = source.protocol["target_mean"], source.protocol["target_std"]
    for patient in ("x", "y", "z"):
        mine, there = (table.patient == patient).to_numpy(), table.score.notna().to_numpy()
        y = torch.tensor(((table.score - mean) / std).to_numpy(copy=True)).float()
        prediction = learner.eval().adapted(x[mine & there], y[mine & there])(x[mine & ~there])
        here = found[found.patient == patient]
        assert_allclose(here["score"], mean + std * prediction.mean.detach().numpy(), rtol=1e-4)
        assert_allclose(here["score std"], std * prediction.stddev.detach().numpy(), rtol=1e-4)


def test_rows_come_in_any_order_and_from_a_file(tmp_path: Path) -> None:
    source = from_table(FRAME, task="patient", target="score", features=FEATURES)
    learner = NearestNeighbour(likelihood=Gaussian())
    predictor = saved(TablePredictor.of(learner, source), tmp_path)
    table = asked("score").iloc[:16].reset_index(drop=True)
    table["score"] = table["score"].astype(float)
    found, turned = predictor.predict(table), predictor.predict(table[::-1])
    pd.testing.assert_frame_equal(turned[::-1], found)
    assert list(found.columns) == ["patient", "score"]  # the spread of a fixed variance says nothing
    table.to_csv(tmp_path / "new.csv", index=False)
    pd.testing.assert_frame_equal(predictor.predict(tmp_path / "new.csv"), found)
    nearest = found.score.iloc[0]
    known = table[(table.patient == "x") & table.score.notna()]
    assert np.isclose(known.score, nearest).any()


@pytest.mark.parametrize("labels", ["shared", "own"])
def test_classification(tmp_path: Path, labels: Any) -> None:
    source = from_table(FRAME, task="patient", target="grade", features=FEATURES, labels=labels)
    torch.manual_seed(0)
    learner = FromScratch(MLP(source.columns(FRAME).shape[1], (8,)), Categorical(3), steps=3)
    table = asked("grade").iloc[:16]
    table.loc[table.grade == "c", "grade"] = "b"
    found = saved(TablePredictor.of(learner, source), tmp_path).predict(table)
    columns = ["grade: a", "grade: b", "grade: c"]
    assert list(found.columns) == ["patient", "grade", *columns]
    assert_allclose(found[columns].sum(axis=1), 1, rtol=1e-5)
    assert (found.grade == found[columns].idxmax(axis=1).str[-1]).all()
    # Where classes mean the same everywhere, one that a patient has not shown is possible still.
    assert (found["grade: c"] > 0).all() == (labels == "shared")


def test_columns_as_tasks(tmp_path: Path) -> None:
    tasks = tasks_from_table(FRAME.assign(ill=FRAME.score > 50), ["score", "grade", "ill"], features=FEATURES)
    torch.manual_seed(0)
    module = SharedBottom(MLP(tasks.columns(FRAME).shape[1], (8,)), tasks.objectives)
    table = FRAME[FEATURES].iloc[5:9]
    found = saved(TargetsPredictor.of(module, tasks), tmp_path).predict(table)
    assert list(found.index) == [5, 6, 7, 8]
    x = torch.from_numpy(tasks.columns(table)).float()[None]
    score, _, _ = tasks.targets
    assert_allclose(found["score"], score.mean + score.std * module.predict("score", x).mean[0].detach(), rtol=1e-4)
    assert_allclose(found["ill: True"], module.predict("ill", x).probs[0].detach(), rtol=1e-4)
    assert_allclose(found["grade: b"], module.predict("grade", x).probs[0, :, 1].detach(), rtol=1e-4)


def test_bad_tables_are_named() -> None:
    source = from_table(FRAME, task="patient", target="grade", features=FEATURES)
    predictor = TablePredictor.of(NearestNeighbour(likelihood=Categorical()), source)
    table = asked("grade").iloc[:16]
    for wrong, message in (
        (table.drop(columns="patient"), "task names the column 'patient', which the table does not have"),
        (table.drop(columns="grade"), "the table has no column 'grade'; add it, empty where it is to be predicted"),
        (table.drop(columns="dose"), "features names the column 'dose', which the table does not have"),
        (table.assign(grade="a"), "no row is without 'grade'; leave it empty where it is to be predicted"),
        (table.assign(patient=None), "16 rows have no 'patient'; name the task of each"),
        (table.assign(grade=["z", *table.grade[1:]]), "'grade' has the class 'z', which it did not have"),
        (table.iloc[:0], "the table has no rows"),
        (
            table.set_axis(["patient", "dose", "dose", *table.columns[3:]], axis=1),
            "'dose', which the table has more than",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            predictor.predict(wrong)


def test_models_of_other_tasks_are_refused() -> None:
    source = from_table(FRAME, task="patient", target="grade", features=FEATURES)
    with pytest.raises(ValueError, match="the learner is for regression, but the target 'grade' is for classification"):
        TablePredictor.of(NearestNeighbour(likelihood=Gaussian()), source)
    tasks = tasks_from_table(FRAME, ["score", "grade"], features=FEATURES)
    module = SharedBottom(MLP(5, (8,)), {"score": Gaussian()})
    with pytest.raises(ValueError, match="the module has no task 'grade'; it has score"):
        TargetsPredictor.of(module, tasks)
    own = from_table(FRAME, task="patient", target="grade", features=FEATURES, labels="own")
    predictor = TablePredictor.of(NearestNeighbour(likelihood=Categorical(3)), own)
    with pytest.raises(ValueError, match="the patient 'z' has no row with a 'grade'"):
        predictor.predict(asked("grade"))


@pytest.mark.parametrize("precision", [torch.float32, torch.float64])
def test_tasks_of_any_size_are_what_they_are_alone(precision: torch.dtype, tmp_path: Path) -> None:
    source = from_table(FRAME, task="patient", target="score", features=FEATURES, shots=3)
    torch.manual_seed(0)
    learner = InContextTransformer(MLP(source.columns(FRAME).shape[1], (8,)), Gaussian(), width=8).to(precision)
    predictor = saved(TablePredictor.of(learner, source), tmp_path)
    table = FRAME.assign(patient=np.repeat(["a", "b", "c", "d"], [2, 4, 70, 84]))
    table.loc[::2, "score"] = np.nan
    table.index = [0] * len(table)
    found = predictor.predict(table)
    alone = pd.concat([predictor.predict(own) for _, own in table.groupby("patient")])
    pd.testing.assert_frame_equal(found, alone, rtol=1e-4)


@pytest.mark.unchecked
def test_what_is_no_table_is_named() -> None:
    source = from_table(FRAME, task="patient", target="grade", features=FEATURES)
    predictor = TablePredictor.of(NearestNeighbour(likelihood=Categorical()), source)
    with pytest.raises(TypeError, match="table must be a data frame or the path of a CSV file, got dict"):
        predictor.predict({})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="source must be what tasks.from_table returned, got int"):
        TablePredictor.of(NearestNeighbour(), 3)  # type: ignore[arg-type]
    module = SharedBottom(MLP(5, (8,)), {"score": Gaussian()})
    with pytest.raises(TypeError, match=r"tasks must be what multitask.tasks_from_table returned, got TableSource"):
        TargetsPredictor.of(module, source)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="module must be a NamedModule such as SharedBottom, got NoneType"):
        TargetsPredictor.of(None, source)  # type: ignore[arg-type]
