import numpy as np
import pytest
import torch

from quickstudy.tasks import ClassPool, LabelledSequences, Renamed

CLASSES, EACH = 30, 5


def pool() -> ClassPool:
    """Examples that say of what class they are, and which of the class."""
    labels = np.repeat(np.arange(CLASSES), EACH)
    examples = torch.from_numpy(np.stack([labels, np.tile(np.arange(EACH), CLASSES)], 1)).float()
    names = [str(number) for number in range(CLASSES)]
    parts = {"train": names[:20], "validation": names[20:25], "test": names[25:]}
    return ClassPool.from_labels(examples, labels, names, parts)


def sequences(**options: object) -> LabelledSequences:
    return LabelledSequences("train", pool().examples, pool().table[:20], **options)


def test_labels_are_the_numbers_of_the_classes_of_the_examples() -> None:
    batch = sequences(burstiness=0.5).draw(3, 40, 1)
    for part in (batch.support, batch.query):
        assert torch.equal(part.x[..., 0].long(), part.y)
    assert batch.classes.all()
    assert batch.classes.shape == (40, 20)


def test_a_stream_is_the_same_however_it_is_cut() -> None:
    split = sequences(burstiness=0.5, exponent=1.0)
    whole, part = split.draw(0, 12, 4), split.draw(7, 2, 4)
    assert torch.equal(whole.support.x[7:9], part.support.x)
    assert torch.equal(whole.query.y[7:9], part.query.y)


def test_bursts_show_the_class_that_is_asked_and_another_as_often() -> None:
    labels = sequences(burstiness=1.0, exponent=1.0).labels(0, 200, 0)
    counts = (labels[:, :-1, None] == np.arange(20)).sum(1)
    assert (np.sort(counts, 1)[:, -5:] == [0, 1, 1, 3, 3]).all()
    assert (counts[np.arange(200), labels[:, -1]] == 3).all()
    assert len({tuple(np.flatnonzero(row[:-1] == row[-1])) for row in labels}) > 20  # anywhere in the sequence


def test_drawings_of_a_class_in_a_sequence_differ() -> None:
    batch = sequences(burstiness=1.0).draw(0, 100, 0)
    for x, asked in zip(batch.support.x, batch.query.x, strict=True):
        drawings = [tuple(row) for row in torch.cat([x, asked]).tolist()]
        assert len(set(drawings)) == 9


def test_the_share_of_bursty_sequences_is_what_was_asked_for() -> None:
    labels = sequences(burstiness=0.3).labels(0, 4000, 0)
    bursty = (labels[:, :-1] == labels[:, -1:]).sum(1) == 3
    assert abs(bursty.mean() - 0.3) < 0.03


def test_independent_draws_follow_zipfs_law() -> None:
    labels = sequences(burstiness=0.0, exponent=1.0).labels(0, 4000, 0)
    shares = np.bincount(labels.ravel(), minlength=20) / labels.size
    law = 1 / (1 + np.arange(20))
    np.testing.assert_allclose(shares, law / law.sum(), atol=0.01)


def test_an_absent_class_is_not_in_its_sequence() -> None:
    labels = sequences(burstiness=0.0, asked="absent").labels(0, 500, 0)
    assert not (labels[:, :-1] == labels[:, -1:]).any()
    assert all(len(set(row)) == 9 for row in labels)


@pytest.mark.unchecked
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"burstiness": 1.5}, "burstiness must lie in 0 … 1 .* got 1.5"),
        ({"exponent": -1.0}, "exponent not be negative, got .* -1"),
        ({"length": 5}, "room for two classes 3 times each, got 5"),
        ({"length": 20}, "more than 20 classes"),
        ({"asked": "present"}, "any, absent, got 'present'"),
        ({"asked": "absent", "burstiness": 0.5}, "burstiness must be 0 .* got 0.5"),
    ],
)
def test_what_cannot_be_is_said(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sequences(**options)


class TestRenamed:
    def test_every_class_has_one_name_and_names_are_drawn_anew(self) -> None:
        episodes = pool().episodes(3, 2, 1).train
        split = Renamed(episodes, 50)
        plain, batch = episodes.draw(0, 60, 0), split.draw(0, 60, 0)
        assert torch.equal(batch.support.x, plain.support.x)
        assert (batch.classes.sum(1) == 3).all()
        for part, before in ((batch.support, plain.support), (batch.query, plain.query)):
            assert batch.classes.gather(1, part.y).all()
            for new, old in zip(part.y, before.y, strict=True):
                assert len({*zip(new.tolist(), old.tolist(), strict=True)}) == 3
        assert len(set(batch.support.y.flatten().tolist())) > 40

    def test_a_vocabulary_that_is_too_small(self) -> None:
        with pytest.raises(ValueError, match="at least 3, the ways of episodes, got 2"):
            Renamed(pool().episodes(3, 2, 1).train, 2)
