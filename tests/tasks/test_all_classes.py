import numpy as np
import pytest
import torch
from scipy import stats

from quickstudy.tasks import AllClasses, draws

from .test_episodes import pool

SIZES = [12, 6, 3, 1] * 5  # of 20 classes, 8 of them for training


def test_labels_are_the_numbers_of_the_training_classes() -> None:
    source = pool(SIZES)
    batch = source.all_classes(30).draw(0, 4, 0)
    batch.check_values()
    assert batch.support.mask.shape == (4, 0)
    assert batch.query.y.shape == (4, 30)
    assert batch.classes.shape == (4, len(source.classes("train")))
    for x, y in zip(batch.query.x.flatten(0, 1), batch.query.y.flatten(), strict=True):
        assert source.classes("train")[int(y)] == f"c{int(x[1])}"


@pytest.mark.parametrize("sampling", ["proportional", "uniform"])
def test_classes_are_drawn_as_often_as_asked(sampling: str) -> None:
    source = pool(SIZES)
    labels = source.all_classes(100, sampling=sampling).draw(0, 200, 0).query.y.flatten()
    sizes = np.array([SIZES[int(name[1:])] for name in source.classes("train")])
    weights = sizes / sizes.sum() if sampling == "proportional" else np.full(len(sizes), 1 / len(sizes))
    assert stats.chisquare(np.bincount(labels, minlength=len(sizes)), 20_000 * weights).pvalue > 0.001


def test_within_a_class_all_examples_are_drawn_equally_often() -> None:
    rows = pool(SIZES).all_classes(100, sampling="uniform").draw(0, 200, 0).query.x.flatten(0, 1)
    first = rows[rows[:, 1] == 0, 0].long()
    assert stats.chisquare(np.bincount(first, minlength=12)[:12]).pvalue > 0.001


def test_batches_are_slices_of_one_stream() -> None:
    split = pool().all_classes(7)
    whole, part = split.draw(0, 10, 3), split.draw(4, 2, 3)
    assert torch.equal(part.query.x, whole.query.x[4:6])
    assert torch.equal(part.query.y, whole.query.y[4:6])
    assert not torch.equal(split.draw(0, 10, 4).query.y, whole.query.y)


@pytest.mark.unchecked
def test_malformed() -> None:
    with pytest.raises(ValueError, match="size must be at least 1, got 0"):
        pool().all_classes(0)
    with pytest.raises(ValueError, match="the class 'a' of the train split has no example"):
        AllClasses("train", torch.zeros(3, 2), np.array([[-1, -1], [0, 1]]), ["a", "b"], 3)
    with pytest.raises(ValueError, match="sampling must be 'proportional' or 'uniform', got 'often'"):
        pool().all_classes(3, sampling="often")


def test_smaller_pools_are_nested_and_leave_the_other_splits_alone() -> None:
    source = pool()
    few, more = source.reduced(4, 3, seed=1), source.reduced(9, 6, seed=1)
    assert set(few.classes("train")) < set(more.classes("train")) < set(source.classes("train"))
    for name in few.classes("train"):
        row = int(name[1:])
        mine, theirs, all_of_it = (set(p.table[row][p.table[row] >= 0].tolist()) for p in (few, more, source))
        assert (len(mine), len(theirs)) == (3, 6)
        assert mine < theirs < all_of_it
    for split in ("validation", "test"):
        assert few.classes(split) == source.classes(split)
        assert np.array_equal(few.table[few.parts[split]], source.table[source.parts[split]])
    assert source.reduced(4, seed=2).classes("train") != few.classes("train")
    assert few.protocol["reduced train"] == {"classes": 4, "examples": 3, "seed": 1}


@pytest.mark.parametrize(
    ("asked", "message"),
    [((0, None), "classes must lie in 1 … 14"), ((99, None), "got 99"), ((None, 0), "examples must be at least 1")],
)
def test_smaller_pools_that_cannot_be(asked: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pool().reduced(*asked)


def test_a_long_tail_begins_after_its_head() -> None:
    source = pool().long_tailed(1.0, 2, head=4)
    sizes = np.sort((source.table[source.parts["train"]] >= 0).sum(1))[::-1]
    expected = np.maximum(2, np.minimum(12, np.round(12 * 4 / np.arange(1, len(sizes) + 1))))
    assert sizes.tolist() == expected.astype(int).tolist()


def test_weighted_draws_without_replacement() -> None:
    """The first follows the weights; the second those that are left."""
    weights = np.array([1, 2, 3, 6])
    rows = draws.weighted(draws.uniforms(0, "x", 0, 60_000, 4), weights, 2)
    assert (rows[:, 0] != rows[:, 1]).all()
    assert stats.chisquare(np.bincount(rows[:, 0]), 60_000 * weights / 12).pvalue > 0.001
    after = rows[rows[:, 0] == 3, 1]
    assert stats.chisquare(np.bincount(after, minlength=4)[:3], len(after) * weights[:3] / 6).pvalue > 0.001


def test_episodes_in_proportion_to_class_sizes_in_training_alone() -> None:
    source = pool([12, 4] * 20)
    episodes = source.episodes(1, 1, 1, class_sampling="proportional")
    assert episodes.protocol["class_sampling"] == "proportional"
    for split, share in (("train", 0.75), ("test", 6 / 13)):
        # 7 of 14 training classes have 12 examples and not 4; 6 of 13 test classes have an even number.
        drawn = getattr(episodes, split).draw(0, 4000, 0).support.x[:, 0, 1]
        large = int((drawn % 2 == 0).sum())
        assert stats.binomtest(large, 4000, share).pvalue > 0.001


@pytest.mark.unchecked
def test_an_unknown_sampling_is_an_error() -> None:
    with pytest.raises(ValueError, match="class_sampling must be"):
        _ = pool().episodes(1, 1, 1, class_sampling="often").train
