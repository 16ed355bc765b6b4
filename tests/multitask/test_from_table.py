"""Targets of a table as named tasks: values against pandas, and what is said of tables that cannot serve."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from quickstudy.multitask import SharedSplit, TableTasks, tasks_from_table
from quickstudy.tasks import Bernoulli, Categorical, Gaussian

ROWS = 200
RNG = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {
        "row": np.arange(ROWS),
        "age": RNG.normal(40, 10, ROWS),
        "town": RNG.choice(["north", "south"], ROWS),
        "ill": RNG.choice(["no", "yes"], ROWS),
        "grade": RNG.integers(1, 6, ROWS),
        "pressure": RNG.normal(120, 15, ROWS),
    }
)
FRAME.loc[::7, "pressure"] = np.nan
FRAME.loc[::5, "ill"] = None
TARGETS = ["ill", "grade", "pressure"]


def test_values_are_those_of_the_table() -> None:
    tasks = tasks_from_table(FRAME, TARGETS)
    assert isinstance(tasks, TableTasks)
    kinds = {task: (type(it.likelihood), it.metric) for task, it in tasks.objectives.items()}
    assert kinds == {"ill": (Bernoulli, "auc"), "grade": (Categorical, "accuracy"), "pressure": (Gaussian, "rmse")}
    ill, grade, pressure = tasks.targets
    assert ill.classes == ["no", "yes"]
    assert grade.classes == ["1", "2", "3", "4", "5"]
    splits = [split for split in (tasks.train, tasks.validation, tasks.test) if isinstance(split, SharedSplit)]
    assert [split.size for split in splits] == [120, 40, 40]
    # The first column of the inputs is the row number, standardised with those of the training rows.
    train = splits[0]
    mean, std = pressure.mean, pressure.std
    places: list[int] = []
    for split in splits:
        number = split.x[:, 0].double()
        low, high = (0, ROWS - 1)
        scale = np.polyfit([float(splits_of(tasks, min)), float(splits_of(tasks, max))], [low, high], 1)
        rows = np.round(np.polyval(scale, number.numpy())).astype(int)
        places += rows.tolist()
        known = FRAME.iloc[rows]
        assert split.mask["pressure"].tolist() == known.pressure.notna().tolist()
        assert split.mask["ill"].tolist() == known.ill.notna().tolist()
        assert split.mask["grade"].all()
        there = split.mask["pressure"].numpy()
        np.testing.assert_allclose(split.y["pressure"].numpy()[there] * std + mean, known.pressure[there], rtol=1e-4)
        there = split.mask["ill"].numpy()
        assert split.y["ill"].numpy()[there].tolist() == (known.ill[there] == "yes").astype(float).tolist()
        assert (split.y["grade"].numpy() + 1).tolist() == known.grade.tolist()
        if split is train:
            assert mean == pytest.approx(known.pressure.mean())
            assert std == pytest.approx(known.pressure.std(ddof=0))
    assert sorted(places) == list(range(ROWS))
    assert train.x.shape[1] == 2 + 2  # two numbers, and a column for either town


def splits_of(tasks: TableTasks, end: object) -> torch.Tensor:
    parts = [split.x[:, 0] for split in (tasks.train, tasks.validation, tasks.test)]  # type: ignore[attr-defined]
    return end(torch.cat(parts))  # type: ignore[operator]


def test_a_file_and_chosen_features(tmp_path: Path) -> None:
    FRAME.to_csv(tmp_path / "table.csv", index=False)
    tasks = tasks_from_table(tmp_path / "table.csv", ["ill", "grade"], features=["age"])
    assert tasks.train.x.shape == (120, 1)  # type: ignore[attr-defined]
    again = tasks_from_table(FRAME, ["ill", "grade"], features=["age"])
    assert torch.allclose(tasks.train.x, again.train.x)  # type: ignore[attr-defined]


@pytest.mark.unchecked  # the checks would refuse some of it before the library can
@pytest.mark.parametrize(
    ("frame", "targets", "options", "message"),
    [
        (FRAME, ["presure"], {}, "targets names the column 'presure', .* did you mean 'pressure'"),
        (FRAME, ["ill", "ill"], {}, "targets must be different columns"),
        (FRAME, "ill", {}, "targets must be a list of names"),
        (FRAME, [], {}, "targets must be a list of names"),
        (FRAME, ["ill"], {"features": ["ill"]}, "features must not hold the task or target column 'ill'"),
        (FRAME, ["ill"], {"features": ["size"]}, "features names the column 'size'"),
        (FRAME[TARGETS], TARGETS, {}, "targets names all columns of the table"),
        (FRAME.assign(ill=None), ["ill"], {}, "the target 'ill' has no value at all"),
        (FRAME.assign(grade=3.5), ["grade"], {}, "the target 'grade' has one value in training"),
        (FRAME.assign(ill="no"), ["ill"], {}, "the target 'ill' has one value in all training rows"),
        (
            FRAME.assign(age=FRAME.age.where(FRAME.row > 0, np.inf)),
            ["age"],
            {},
            "the target 'age' has values that are not finite",
        ),
        (3, ["ill"], {}, "table must be a data frame or the path"),
        ("nowhere.csv", ["ill"], {}, "no table at nowhere.csv"),
        (FRAME, ["ill"], {"validation": 0.999}, "leave a split empty"),
    ],
)
def test_what_cannot_serve(frame: object, targets: object, options: dict, message: str) -> None:
    with pytest.raises((ValueError, TypeError, FileNotFoundError), match=message):
        tasks_from_table(frame, targets, **options)  # type: ignore[arg-type]
