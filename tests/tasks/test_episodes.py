import numpy as np
import pytest
import torch
from scipy import stats

from quickstudy.tasks import ClassPool, Episodes

CLASSES, EACH = 40, 12


def pool(sizes: list[int] | None = None, **kwargs: object) -> ClassPool:
    """Examples that say their own number and class: x = (row, class)."""
    sizes = [EACH] * CLASSES if sizes is None else sizes
    labels = np.repeat(np.arange(len(sizes)), sizes)
    x = torch.stack([torch.arange(len(labels)), torch.from_numpy(labels)], 1).float()
    names = [f"c{i}" for i in range(len(sizes))]
    third = len(sizes) // 3
    parts = {"train": names[: len(names) - 2 * third], "validation": names[-2 * third : -third], "test": names[-third:]}
    return ClassPool.from_labels(x, labels, names, parts, **kwargs)


def test_shape_of_a_fixed_episode() -> None:
    batch = pool().episodes(5, 2, 3).train.draw(0, 4, 0)
    batch.check_values()
    assert batch.support.x.shape == (4, 10, 2)
    assert batch.query.x.shape == (4, 15, 2)
    assert batch.support.mask.all()
    for task in range(4):
        assert batch.support.y[task].bincount().tolist() == [2] * 5
        assert batch.query.y[task].bincount().tolist() == [3] * 5


def test_support_and_query_share_classes_but_no_example() -> None:
    batch = pool().episodes(5, 3, 4).train.draw(0, 50, 0)
    for task in range(50):
        support, query = batch[task].support, batch[task].query
        assert not set(support.x[0, :, 0].tolist()) & set(query.x[0, :, 0].tolist())
        assert len(set(support.x[0, :, 0].tolist())) == 15
        names = {int(y): int(c) for y, c in zip(support.y[0], support.x[0, :, 1], strict=True)}
        assert all(names[int(y)] == int(c) for y, c in zip(query.y[0], query.x[0, :, 1], strict=True))


def test_splits_are_disjoint_over_thousands_of_tasks() -> None:
    source = pool().episodes(5, 1, 1)
    seen = {
        name: set(getattr(source, name).draw(0, 3000, seed).support.x[..., 1].flatten().tolist())
        for seed, name in enumerate(("train", "validation", "test"))
    }
    assert sum(map(len, seen.values())) == CLASSES  # every class is drawn, each in one split
    assert len(set.union(*seen.values())) == CLASSES


def test_a_split_that_is_not_used_need_not_be_possible() -> None:
    source = pool().episodes(14, 1, 1)
    assert source.train.draw(0, 1, 0).classes.shape == (1, 14)
    with pytest.raises(ValueError, match="ways is 14, but the test split has 13 classes"):
        _ = source.test


def test_a_class_of_another_split_is_an_error() -> None:
    with pytest.raises(ValueError, match="'c0' belongs to train, not to test"):
        pool().only("test", ["c0"])
    with pytest.raises(ValueError, match="no class 'c99'"):
        pool().only("test", ["c99"])
    with pytest.raises(ValueError, match="names has the class 'c39' twice"):
        pool().only("test", ["c39", "c39"])
    chosen = pool().only("test", ["c39", "c30"]).episodes(2, 1, 1).test.draw(0, 20, 0)
    assert set(chosen.query.x[..., 1].flatten().tolist()) == {30.0, 39.0}


def test_labels_carry_no_information() -> None:
    """Neither a class nor a position in the episode tells a label."""
    split = pool().episodes(4, 1, 2).train
    plan = split.plan(0, 20_000, 0)
    table = np.stack([np.bincount(plan.classes[:, label], minlength=len(split.names)) for label in range(4)])
    assert stats.chi2_contingency(table).pvalue > 0.001
    for labels in (plan.support_labels, plan.query_labels):
        by_position = np.stack([np.bincount(labels[:, position], minlength=4) for position in range(labels.shape[1])])
        assert stats.chi2_contingency(by_position).pvalue > 0.001
    # ... nor do neighbouring positions tell more than that a label of the support stands only once.
    follows = np.bincount(plan.query_labels[:, 0] * 4 + plan.query_labels[:, 1], minlength=16).reshape(4, 4)
    off_diagonal = follows[~np.eye(4, dtype=bool)]
    assert stats.chisquare(off_diagonal).pvalue > 0.001


def test_every_example_is_drawn_equally_often() -> None:
    plan = pool().episodes(5, 2, 3).train.plan(0, 5000, 0)
    counts = np.bincount(np.concatenate([plan.support, plan.query], 1).ravel())
    assert stats.chisquare(counts).pvalue > 0.001


def test_batches_are_slices_of_one_stream() -> None:
    split = pool().episodes((2, 5), (0, 3), (1, 4)).train
    whole = split.draw(0, 12, 7)
    for first, count in ((0, 4), (4, 1), (5, 7)):
        part = split.draw(first, count, 7)
        assert torch.equal(part.query.x, whole.query.x[first : first + count])
    step = split.sample(2, 4, 7)
    halves = [split.sample(2, 4, 7, rank=rank, world=2) for rank in range(2)]
    assert torch.equal(step.support.x, whole.support.x[8:12])
    assert torch.equal(torch.cat([half.support.x for half in halves]), step.support.x)


def test_a_batch_that_processes_cannot_share_is_an_error() -> None:
    with pytest.raises(
        ValueError, match=r"batch_size must be a positive multiple of the number of processes \(2\), got 3"
    ):
        pool().episodes(5, 1, 1).train.sample(0, 3, 0, rank=0, world=2)


def test_ranges() -> None:
    batch = pool().episodes((2, 6), (0, 3), (1, 5)).train.draw(0, 2000, 0)
    batch.check_values()
    ways = batch.classes.sum(1)
    assert set(ways.tolist()) == {2, 3, 4, 5, 6}
    one_hot = torch.nn.functional.one_hot(batch.support.y, 6) * batch.support.mask[..., None]
    shots = one_hot.sum(1)[batch.classes]
    assert set(shots.tolist()) == {0, 1, 2, 3}
    assert stats.chisquare(shots.bincount().numpy()).pvalue > 0.001
    assert (batch.query.y < ways[:, None])[batch.query.mask].all()


def test_zero_shots() -> None:
    batch = pool().episodes(3, 0, 2).train.draw(0, 2, 0)
    assert batch.support.x.shape == (2, 0, 2)
    assert batch.query.mask.all()


def test_a_class_with_too_few_examples_is_named() -> None:
    sizes = [EACH] * CLASSES
    sizes[3] = 4
    with pytest.raises(
        ValueError,
        match="the class 'c3' of the train split has 4 examples, but 2 shots and 5 queries take 7: 3 are lacking",
    ):
        _ = pool(sizes).episodes(5, 2, 5).train
    batch = pool(sizes).episodes(14, (1, 5), (1, 5)).train.draw(0, 200, 0)  # a range takes what there is
    rows = batch.support.x[..., 1] == 3
    assert 1 <= (rows & batch.support.mask).sum(1).max() <= 3


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((0, 1, 1), "ways must be an integer of at least 1"),
        ((5, -1, 1), "shots must be an integer of at least 0"),
        ((5, (3, 1), 1), r"shots .* got \(3, 1\)"),
        ((5, 1, 0), "queries must be an integer of at least 1"),
        ((20, 1, 1), "ways is 20, but the train split has 14 classes"),
    ],
)
def test_impossible_shapes(shape: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _ = pool().episodes(*shape).train


def test_groups_keep_support_and_query_apart() -> None:
    groups = np.tile(np.repeat(np.arange(4), 3), CLASSES)
    source = pool(groups=groups).episodes(5, 2, 3, separate_groups=True)
    batch = source.train.draw(0, 300, 0)
    seen = set()
    for task in range(300):
        for label in range(5):
            support = batch.support.x[task, batch.support.y[task] == label, 0].long()
            query = batch.query.x[task, batch.query.y[task] == label, 0].long()
            assert not set(groups[support]) & set(groups[query])
            seen |= set(groups[support])
    assert seen == {0, 1, 2, 3}


def test_groups_that_cannot_suffice_are_an_error() -> None:
    with pytest.raises(ValueError, match="this one has none"):
        _ = pool().episodes(5, 1, 1, separate_groups=True).train
    groups = np.tile(np.repeat(np.arange(4), 3), CLASSES)
    with pytest.raises(ValueError, match=r"groups of \[3, 3, 3, 3\] examples; .* 7 queries may lack 1"):
        _ = pool(groups=groups).episodes(5, 1, 7, separate_groups=True).train


def test_long_tail_follows_zipf_in_training_alone() -> None:
    tailed = pool().long_tailed(1.0, minimum=2)
    sizes = np.sort((tailed.table[tailed.parts["train"]] >= 0).sum(1))[::-1]
    rank = np.arange(1, len(sizes) + 1)
    assert sizes.tolist() == np.maximum(2, np.round(EACH / rank)).astype(int).tolist()
    assert ((tailed.table[tailed.parts["test"]] >= 0).sum(1) == EACH).all()
    assert tailed.protocol["long_tail"]["exponent"] == 1.0
    tailed.episodes(5, 1, 1).train.draw(0, 100, 0).check_values()


def test_images_become_floats_between_zero_and_one() -> None:
    images = torch.randint(0, 256, (CLASSES * EACH, 1, 5, 5), dtype=torch.uint8)
    names = [f"c{i}" for i in range(CLASSES)]
    parts = {"train": names[:20], "validation": names[20:30], "test": names[30:]}
    data = ClassPool.from_labels(images, np.repeat(np.arange(CLASSES), EACH), names, parts)
    split = data.episodes(3, 1, 1).test
    batch, plan = split.draw(0, 2, 0), split.plan(0, 2, 0)
    assert torch.allclose(batch.query.x, images[torch.from_numpy(plan.query)].float() / 255)


def test_to_moves_the_gather() -> None:
    split = pool().episodes(3, 1, 1).test
    assert isinstance(split.to("cpu"), Episodes)
    assert split.to("meta").examples.device.type == "meta"
    assert split.examples.device.type == "cpu"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"parts": {"train": ["a"], "validation": ["b"], "test": ["b"]}}, "'b' is in validation and in test"),
        ({"parts": {"train": ["a"], "validation": ["b"]}}, "'test' is missing"),
        ({"parts": {"train": ["a"], "validation": ["b"], "test": ["z"]}}, "'z', of which there is no example"),
        ({"labels": [0, 1]}, "labels has 2 entries for 3 examples"),
        ({"labels": [0, 1, 3]}, "labels must lie in 0 … 2, got 0 … 3"),
        ({"names": ["a", "a", "c"]}, "names must differ: a"),
    ],
)
def test_malformed_pools(changes: dict, message: str) -> None:
    arguments = {
        "labels": [0, 1, 2],
        "names": ["a", "b", "c"],
        "parts": {"train": ["a"], "validation": ["b"], "test": ["c"]},
    }
    with pytest.raises(ValueError, match=message):
        ClassPool.from_labels(torch.zeros(3, 1), **{**arguments, **changes})
