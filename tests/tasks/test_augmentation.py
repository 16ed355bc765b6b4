import json

import numpy as np
import pytest
import torch
from torch import Tensor

from quickstudy.tasks import (
    ClassPool,
    ColourJitter,
    HorizontalFlip,
    QuarterTurns,
    Rotation,
    Shift,
    TaskBatch,
    augmented,
    from_arrays,
    sinusoids,
)

CLASSES, EACH = 12, 9
EVERYTHING = [QuarterTurns(), Shift(2), HorizontalFlip(), ColourJitter(), Rotation(10), Shift(1, per="class")]


def pool() -> ClassPool:
    images = torch.randint(0, 256, (CLASSES * EACH, 3, 8, 8), dtype=torch.uint8)
    names = [f"c{i}" for i in range(CLASSES)]
    parts = {"train": names[:6], "validation": names[6:9], "test": names[9:]}
    return ClassPool.from_labels(images, np.repeat(np.arange(CLASSES), EACH), names, parts, protocol={"data": "noise"})


def same(a: TaskBatch, b: TaskBatch) -> bool:
    pairs = [(a.support, b.support), (a.query, b.query)]
    return all(torch.equal(getattr(x, n), getattr(y, n)) for x, y in pairs for n in ("x", "y", "mask"))


def test_a_task_is_the_same_however_tasks_are_cut_into_batches() -> None:
    split = augmented(pool().episodes((2, 3), (0, 2), (1, 3)), EVERYTHING).train
    whole = split.draw(0, 12, 7)
    whole.check_values()
    for first, count in ((0, 4), (4, 1), (5, 7)):
        assert same(split.draw(first, count, 7), whole[slice(first, first + count)])
    step = split.sample(2, 4, 7)
    halves = [split.sample(2, 4, 7, rank=rank, world=2) for rank in range(2)]
    assert torch.equal(torch.cat([half.query.x for half in halves]), step.query.x)
    assert not torch.equal(split.draw(0, 12, 8).query.x, whole.query.x)


def test_a_task_is_the_same_however_it_is_padded() -> None:
    tasks = [(torch.rand(n, 1, 8, 8).numpy(), np.arange(n) % 2) for n in (4, 6, 8, 40, 64, 12, 10, 4, 8, 6)]
    split = augmented(from_arrays(tasks, validation=0.1, test=0.1), EVERYTHING).train
    whole = split.draw(0, 8, 3)
    widths = set()
    for task in range(8):
        alone = split.draw(task, 1, 3)
        n = alone.query.mask.shape[1]
        widths.add(n)
        real = alone.query.mask[0]
        assert torch.equal(alone.query.x[0][real], whole.query.x[task, :n][real])
    assert len(widths) > 1


def test_what_is_drawn_per_class_is_the_same_in_support_and_query() -> None:
    source = pool().episodes(3, 2, 3)
    before, after = source.train.draw(0, 40, 0), augmented(source, [QuarterTurns()]).train.draw(0, 40, 0)
    seen = torch.zeros(4)
    for task in range(40):
        quarters = []
        for label in range(3):
            pairs: list[tuple[Tensor, Tensor]] = []
            for role in ("support", "query"):
                old, new = getattr(before, role), getattr(after, role)
                which = old.y[task] == label
                pairs += zip(old.x[task, which], new.x[task, which], strict=True)
            fits = [q for q in range(4) if all(torch.equal(torch.rot90(old, q, (-2, -1)), new) for old, new in pairs)]
            assert len(fits) == 1  # one turn for the whole class
            quarters += fits
        seen += torch.bincount(torch.tensor(quarters), minlength=4)
    assert (seen > 15).all()  # of 120 classes, thirty are expected


def test_what_is_drawn_per_image_differs() -> None:
    source = pool().episodes(2, 4, 4)
    before, after = source.train.draw(0, 30, 0), augmented(source, [HorizontalFlip()]).train.draw(0, 30, 0)
    flipped = {}
    for role in ("support", "query"):
        old, new = getattr(before, role).x, getattr(after, role).x
        flipped[role] = (new == old.flip(-1)).flatten(2).all(2)
        assert ((new == old).flatten(2).all(2) != flipped[role]).all()
        assert 0.35 < flipped[role].float().mean() < 0.65
    assert not torch.equal(flipped["support"], flipped["query"])


def test_padding_and_labels_are_untouched() -> None:
    source = pool().episodes((2, 3), (0, 3), (1, 4))
    before, after = source.train.draw(0, 20, 1), augmented(source, EVERYTHING).train.draw(0, 20, 1)
    for role in ("support", "query"):
        old, new = getattr(before, role), getattr(after, role)
        assert (~old.mask).any()
        assert torch.equal(new.x[~old.mask], old.x[~old.mask])
        assert torch.equal(new.y, old.y)
        assert torch.equal(new.mask, old.mask)
        assert (new.x >= 0).all()
        assert (new.x <= 1 + 1e-6).all()
    assert torch.equal(after.classes, before.classes)


def test_zero_shots() -> None:
    batch = augmented(pool().episodes(3, 0, 2), EVERYTHING).train.draw(0, 2, 0)
    assert batch.support.x.shape == (2, 0, 3, 8, 8)


def test_transforms_that_change_nothing() -> None:
    source = pool().episodes(3, 1, 2)
    still = augmented(source, [QuarterTurns((0,)), Shift(0), HorizontalFlip(0.0), ColourJitter(0, 0), Rotation(0)])
    assert same(still.train.draw(0, 5, 0), source.train.draw(0, 5, 0))


def test_training_tasks_alone_are_changed_unless_told() -> None:
    source = pool().episodes(3, 1, 2)
    plain = augmented(source, [Shift(2)])
    for name in ("validation", "test"):
        assert same(getattr(plain, name).draw(0, 3, 0), getattr(source, name).draw(0, 3, 0))
    assert not same(plain.train.draw(0, 3, 0), source.train.draw(0, 3, 0))
    every = augmented(source, [Shift(2)], splits=("train", "test"))
    assert not same(every.test.draw(0, 3, 0), source.test.draw(0, 3, 0))
    assert every.protocol["data"] == "noise"
    told = {"splits": ["train", "test"], "transforms": ["Shift(pixels=2, padding='zeros', per='image')"]}
    assert every.protocol["augmentation"] == told
    json.dumps(every.protocol)
    assert (plain.train.ways, plain.train.kind, plain.train.name, plain.train.size) == (
        3,
        "classification",
        "train",
        None,
    )


def test_a_split_that_is_not_used_need_not_be_possible() -> None:
    source = augmented(pool().episodes(5, 1, 2), EVERYTHING)
    source.train.draw(0, 1, 0)
    with pytest.raises(ValueError, match="ways is 5, but the test split has 3 classes"):
        _ = source.test


def test_to_moves_the_tasks() -> None:
    split = augmented(pool().episodes(3, 1, 2), EVERYTHING).train
    moved = split.to("cpu")
    assert same(moved.draw(0, 2, 0), split.draw(0, 2, 0))
    assert split.to("meta").split.examples.device.type == "meta"


def test_wrong_arguments() -> None:
    source = pool().episodes(3, 1, 2)
    with pytest.raises(ValueError, match=r"splits must be some of train, validation, test, got \('tests',\)"):
        augmented(source, [Shift(1)], splits=("tests",))
    with pytest.raises(ValueError, match="transforms is empty"):
        augmented(source, [])
    with pytest.raises(ValueError, match="QuarterTurns.* draws per class, but the tasks are regression"):
        _ = augmented(sinusoids(shots=5), [QuarterTurns()]).train
    with pytest.raises(TypeError, match=r"only images .* can be augmented; got torch.float32 \(1, 5, 1\)"):
        augmented(sinusoids(shots=5), [Shift(1)]).train.draw(0, 1, 0)
