"""Loaders of named tasks on the real files, where they are given, and on what is wrong with files."""

import gzip
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from quickstudy.multitask import census_income, multi_mnist, parkinsons
from quickstudy.multitask.multi_mnist import overlaid

DATA = Path(os.environ.get("QUICKSTUDY_DATA", "nowhere"))


def given(name: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not (DATA / name).is_dir(), reason=f"QUICKSTUDY_DATA has no {name}")


@given("parkinsons_telemonitoring")
def test_parkinsons_has_a_task_for_each_patient() -> None:
    tasks = parkinsons()
    assert len(tasks.train.data) == 42
    parts = [sum(len(y) for _, y in split.data.values()) for split in (tasks.train, tasks.validation, tasks.test)]
    assert sum(parts) == 5875
    everything = torch.cat([x for split in (tasks.train, tasks.validation, tasks.test) for x, _ in split.data.values()])
    assert everything.shape == (5875, 19)
    assert everything.mean(0).abs().max() < 1e-4
    assert (everything.std(0) - 1).abs().max() < 1e-3
    # Age and sex are the patient's: the same in all recordings of one.
    assert all((x[:, :2] == x[:1, :2]).all() for x, _ in tasks.train.data.values())
    motor, total = (parkinsons(target=target).train.data["patient1"][1] for target in ("motor", "total"))
    assert (total > motor).all()
    assert 20 < motor.mean() < 40


@given("census_income_kdd")
def test_census_income_has_the_published_counts() -> None:
    tasks = census_income()
    splits = (tasks.train, tasks.validation, tasks.test)
    assert sum(len(split.x) for split in splits) == 99_762
    assert sum(int(split.y["income"].sum()) for split in splits) == 6_186
    assert sum(int(split.y["marital"].sum()) for split in splits) == 43_143
    x = tasks.test.x
    assert set(x[:, 7:].unique().tolist()) == {0.0, 1.0}
    assert (x[:, 7:].sum(1) == 32).all()  # one value of each of the other columns
    assert all(split.mask["income"].all() for split in splits)


@given("mnist")
def test_multi_mnist_lays_digits_over_one_another() -> None:
    tasks = multi_mnist(train=300, validation=50, test=50)
    assert tasks.train.x.shape == (300, 1, 36, 36)
    assert 0.9 < tasks.train.x.max() <= 1
    assert set(tasks.train.y["left"].tolist()) == set(range(10)) == set(tasks.train.y["right"].tolist())
    assert 0.02 < (tasks.train.y["left"] == tasks.train.y["right"]).float().mean() < 0.2  # drawn independently
    again = multi_mnist(train=300, validation=50, test=50)
    assert torch.equal(again.test.x, tasks.test.x)
    assert not torch.equal(multi_mnist(train=300, validation=50, test=50, seed=1).test.x, tasks.test.x)


def test_the_first_is_up_and_left() -> None:
    left, right = torch.full((1, 1, 28, 28), 255, dtype=torch.uint8), torch.full((1, 1, 28, 28), 51, dtype=torch.uint8)
    image = overlaid(left, right)[0, 0]
    assert image[0, 0] == image[27, 27] == 1.0  # the brighter of the two where both are
    assert image[35, 35] == pytest.approx(0.2)
    assert image[0, 35] == image[35, 0] == 0.0


@pytest.mark.parametrize("load", [parkinsons, census_income])
def test_missing_and_damaged_files_are_named(load: Callable, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no .*UCI repository"):
        load(tmp_path)
    name = "parkinsons_updrs.data" if load is parkinsons else "census-income.test.gz"
    for content in (b"", b"junk", gzip.compress(b"1,2,3\n"), gzip.compress(b"x," * 41 + b"y\n")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=name):
            load(tmp_path)


@pytest.mark.unchecked  # the checker of signatures would refuse the first
def test_absurd_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="target must be one of motor, total"):
        parkinsons(target="speech")
    with pytest.raises(ValueError, match="must be at least 1"):
        multi_mnist(train=0)
