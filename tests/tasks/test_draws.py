import numpy as np
import pytest
from scipy import stats

from quickstudy.tasks import draws


def test_a_task_owns_its_numbers() -> None:
    whole = draws.uniforms(3, "train", 0, 50, 7)
    assert np.array_equal(draws.uniforms(3, "train", 20, 5, 7), whole[20:25])
    assert not np.isin(draws.uniforms(4, "train", 0, 50, 7), whole).any()
    assert not np.isin(draws.uniforms(3, "test", 0, 50, 7), whole).any()


def test_numbers_far_out_in_the_stream() -> None:
    far = draws.uniforms(0, "train", 10**12, 3, 5)
    assert far.shape == (3, 5)
    assert np.array_equal(draws.uniforms(0, "train", 10**12 + 2, 1, 5)[0], far[2])


def test_uniform() -> None:
    assert stats.kstest(draws.uniforms(0, "x", 0, 20_000, 1)[:, 0], "uniform").pvalue > 0.001


def test_integers_are_uniform_and_include_both_ends() -> None:
    values = draws.integers(draws.uniforms(0, "x", 0, 60_000, 1)[:, 0], 3, 8)
    assert set(values) == set(range(3, 9))
    assert stats.chisquare(np.bincount(values)[3:]).pvalue > 0.001


@pytest.mark.parametrize(("k", "population"), [(3, 5), (5, 5), (2, 40)])
def test_distinct_draws_every_ordered_choice_equally_often(k: int, population: int) -> None:
    rows = draws.distinct(draws.uniforms(1, "x", 0, 120_000, 2 * k), population)
    assert all(len(set(row)) == k for row in rows[:1000].tolist())
    codes = (rows * population ** np.arange(k)).sum(1)
    counts = np.unique(codes, return_counts=True)[1]
    possible = int(np.prod(population - np.arange(k)))
    assert len(counts) == possible
    assert stats.chisquare(counts).pvalue > 0.001


def test_distinct_marks_what_a_small_population_cannot_give() -> None:
    rows = draws.distinct(draws.uniforms(1, "x", 0, 3, 8), np.array([0, 2, 9]))
    assert (rows >= 0).sum(1).tolist() == [0, 2, 4]
    assert set(rows[1, :2]) == {0, 1}


def test_rounds_show_everyone_once_before_anyone_twice() -> None:
    members = draws.rounds(0, "x", 0, 30, 10, shuffle=True)
    for begin in (0, 10, 20):
        assert sorted(members[begin : begin + 10]) == list(range(10))
    assert members[:10].tolist() != members[10:20].tolist()
    assert draws.rounds(0, "x", 7, 9, 10, shuffle=True).tolist() == members[7:16].tolist()
    assert draws.rounds(0, "x", 0, 12, 10, shuffle=False).tolist() == [*range(10), 0, 1]


@pytest.mark.parametrize("arguments", [(-1, "x", 0, 1, 1), (0, "x", -1, 1, 1), (0, "x", 0, -1, 1)])
def test_negative_arguments_are_named(arguments: tuple) -> None:
    with pytest.raises(ValueError, match="must not be negative, got -1"):
        draws.uniforms(*arguments)
