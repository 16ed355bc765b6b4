import math

import numpy as np
import pytest
from scipy import stats

from quickstudy.evaluation import Interval, interval


def test_one_run_is_students_interval() -> None:
    values = np.random.default_rng(0).normal(3, 2, 40)
    result = interval(values)
    low, high = stats.t.interval(0.95, 39, values.mean(), stats.sem(values))
    assert result.low == pytest.approx(low)
    assert result.high == pytest.approx(high)
    assert (result.tasks, result.seeds) == (40, 1)


def test_covers_the_truth_as_often_as_it_says() -> None:
    """Runs and tasks both vary: 95% intervals hold the true mean about 95 times in 100, or more."""
    generator = np.random.default_rng(1)
    hits = 0
    for _ in range(1000):
        runs, tasks = generator.normal(0, 1, (3, 1)), generator.normal(0, 3, (1, 60))
        values = 5 + runs + tasks + generator.normal(0, 1, (3, 60))
        hits += abs(interval(values).mean - 5) <= interval(values).ci95
    assert hits >= 940


def test_several_runs_are_wider_than_their_tasks_alone() -> None:
    values = np.random.default_rng(0).normal(0, 1, (3, 100)) + np.array([[-1.0], [0.0], [1.0]])
    assert interval(values).ci95 > interval(values.mean(0)).ci95
    over_runs = stats.t.ppf(0.975, 2) * stats.sem(values.mean(1))
    over_tasks = stats.t.ppf(0.975, 99) * stats.sem(values.mean(0))
    assert interval(values).ci95 == pytest.approx(math.hypot(over_runs, over_tasks))


def test_several_runs_on_one_task_are_students_interval_over_runs() -> None:
    values = np.random.default_rng(2).normal(0.9, 0.01, 5)
    result = interval(values[:, None])
    low, high = stats.t.interval(0.95, 4, values.mean(), stats.sem(values))
    assert (result.low, result.high) == (pytest.approx(low), pytest.approx(high))
    assert (result.tasks, result.seeds) == (1, 5)


def test_one_task_has_no_interval_and_json_says_null() -> None:
    result = interval(np.array([1.0]))
    assert math.isnan(result.ci95)
    assert result.to_json()["ci95"] is None
    assert math.isnan(Interval.from_json(result.to_json()).ci95)


@pytest.mark.parametrize(("values", "message"), [([], "not empty"), ([1.0, math.nan], "must be finite")])
def test_bad_values(values: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        interval(np.array(values))
