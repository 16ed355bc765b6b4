from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from quickstudy.tasks import from_table


def frame(patients: int = 20, each: int = 6) -> pd.DataFrame:
    generator = np.random.default_rng(0)
    rows = patients * each
    return pd.DataFrame(
        {
            "patient": np.repeat([f"p{i:02d}" for i in range(patients)], each),
            "age": generator.normal(50, 10, rows),
            "sex": generator.choice(["f", "m"], rows),
            "dose": generator.normal(size=rows),
            "score": generator.normal(30, 5, rows),
            "ill": generator.choice(["no", "yes"], rows),
        }
    )


def test_regression_from_a_file(tmp_path: Path) -> None:
    frame().to_csv(tmp_path / "trial.csv", index=False)
    source = from_table(tmp_path / "trial.csv", task="patient", target="score", features=["age", "sex", "dose"])
    assert source.protocol["tasks"] == {"validation": 4, "test": 4, "train": 12}
    batch = source.train.draw(0, 12, 0)
    batch.check_values()
    everything = torch.cat([part.y[part.mask] for part in (batch.support, batch.query)])
    assert abs(float(everything.mean())) < 1e-5
    assert abs(float(everything.std(correction=0)) - 1) < 1e-5
    assert batch.query.x.shape[-1] == 4  # age, dose, sex as two columns
    assert repr(source).startswith("TableSource(data='table', task='patient', target='score', split_seed=0")
    assert repr(source.test) == "Collection('test', size 4)"


def test_nothing_is_learned_from_held_out_tasks() -> None:
    """Absurd values in a held-out task change nothing for the training tasks."""
    clean = frame()
    held = from_table(clean, task="patient", target="score", features=["age", "dose"])
    tests = set()
    for number in range(20):
        changed = clean.copy()
        changed.loc[changed.patient == f"p{number:02d}", ["age", "score"]] = [1e6, 1e6]
        other = from_table(changed, task="patient", target="score", features=["age", "dose"])
        same = torch.equal(other.train.draw(0, 12, 0).support.x, held.train.draw(0, 12, 0).support.x)
        if same:
            assert other.protocol["target_mean"] == held.protocol["target_mean"]
            tests.add(number)
    assert len(tests) == 8  # validation and test


def test_classification_by_text() -> None:
    source = from_table(frame(), task="patient", target="ill")
    assert source.train.kind == "classification"
    assert source.protocol["classes"] == ["no", "yes"]
    assert source.train.ways == 2


def test_missing_values() -> None:
    table = frame()
    table.loc[::7, "age"] = np.nan
    table.loc[::5, "sex"] = None
    table.loc[3, "score"] = np.nan
    with pytest.warns(UserWarning, match="1 of 120 rows have no 'patient' or 'score'"):
        source = from_table(table, task="patient", target="score", features=["age", "sex"])
    batch = source.train.draw(0, 12, 0)
    batch.check_values()
    assert batch.query.x.shape[-1] == 5  # age, age missing, sex: f, m, missing


def test_integer_targets() -> None:
    table = frame()
    table["grade"] = np.arange(120) % 4
    table["count"] = np.arange(120)
    assert from_table(table, task="patient", target="grade").train.kind == "classification"
    assert from_table(table, task="patient", target="count").train.kind == "regression"
    assert from_table(table, task="patient", target="grade", kind="regression").train.kind == "regression"


def test_a_wrong_column_suggests_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="task names the column 'pateint', .* did you mean 'patient'"):
        from_table(frame(), task="pateint", target="score")
    with pytest.raises(ValueError, match="features must not hold the task or target column 'score'"):
        from_table(frame(), task="patient", target="score", features=["score"])
    with pytest.raises(FileNotFoundError, match="no table at"):
        from_table(tmp_path / "none.csv", task="patient", target="score")


def test_a_constant_target_is_an_error() -> None:
    with pytest.raises(ValueError, match="'dose' has one value in training"):
        from_table(frame().assign(dose=1.5), task="patient", target="dose")


@pytest.mark.unchecked
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "clasification"}, "kind must be 'classification' or 'regression', got 'clasification'"),
        ({"labels": "mine"}, "labels must be 'shared' or 'own', got 'mine'"),
        ({"shots": 1.5}, "shots must be a share below 1"),
        ({"shots": -3}, "shots must be a share below 1"),
        ({"target": "patient"}, "task and target must be two columns"),
    ],
)
def test_bad_options_are_named(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_table(frame(), **{"task": "patient", "target": "ill", **options})


def test_odd_columns() -> None:
    table = frame()
    table["fasting"] = pd.array([True, False, None] * 40, dtype="boolean")
    table["visit"] = [f"2024-01-{day}" for day in range(120)]  # a text of its own in every row
    table[7] = np.arange(120)
    table["patient"] = pd.Categorical(table.patient, categories=[*sorted(table.patient.unique()), "nobody"])
    source = from_table(table, task="patient", target="score", features=["fasting", "visit", "7"])
    assert sum(source.protocol["tasks"].values()) == 20
    batch = source.train.draw(0, 12, 0)
    batch.check_values()
    assert batch.query.x.shape[-1] <= 2 + 1 + 101
    with pytest.raises(ValueError, match="'score' has values that are not finite"):
        from_table(frame().replace({"score": {frame().score[0]: np.inf}}), task="patient", target="score")


def test_minus_zero_is_zero_and_whole_numbers_are_named_as_such() -> None:
    frame = pd.DataFrame({"task": np.arange(40) % 10, "x": np.arange(40.0), "y": [0.0, 1.0, -0.0, 2.0] * 10})
    assert from_table(frame, task="task", target="y").protocol["classes"] == ["0", "1", "2"]


def test_classes_of_single_rows_are_refused() -> None:
    frame = pd.DataFrame({"task": np.arange(80) % 10, "x": np.arange(80.0), "y": [f"name {n}" for n in range(80)]})
    with pytest.raises(ValueError, match="the target 'y' has 80 different values in 80 rows, such as 'name 0'"):
        from_table(frame, task="task", target="y")


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (
            [f"name {n}" for n in range(80)],
            "the column 'x' is taken for categories, of which it has 80 in 80 rows; a name",
        ),
        (["?" if n % 4 == 0 else str(n % 7) for n in range(80)], r"make it numeric \(what is read as text is '\?'\)"),
        ([f"3,{n}" for n in range(80)], r"make it numeric \(what is read as text is '3,0'\)"),
        (pd.date_range("2026-01-01", periods=80), "80 in 80 rows; a name or a date"),
    ],
    ids=["names", "question marks", "decimal commas", "dates"],
)
def test_what_most_likely_is_no_category_is_said(column: object, message: str) -> None:
    frame = pd.DataFrame({"task": np.arange(80) % 10, "x": column, "y": np.arange(80) / 3})
    with pytest.warns(UserWarning, match=message):
        from_table(frame, task="task", target="y")


def test_shots_that_no_task_has_are_refused() -> None:
    frame = pd.DataFrame({"task": np.arange(40) % 10, "x": np.arange(40.0), "y": np.arange(40) / 3})
    with pytest.raises(ValueError, match="shots is 4, but the largest task has 4 examples"):
        from_table(frame, task="task", target="y", shots=4)


def test_tasks_of_one_row_are_said() -> None:
    frame = pd.DataFrame({"task": [*range(10), *range(7), *range(7)], "x": np.arange(24.0), "y": np.arange(24) / 3})
    with pytest.warns(UserWarning, match="3 of 10 tasks have one example"):
        from_table(frame, task="task", target="y")
