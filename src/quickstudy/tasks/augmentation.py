"""Augmentation: tasks whose images are changed at random each time they are drawn.

The random numbers belong to the number of the task and to the place of the image in it, so task t is the same however
tasks are cut into batches, resumed, or spread over processes, and however its examples are padded.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from quickstudy.tasks import draws
from quickstudy.tasks.batch import Examples, TaskBatch
from quickstudy.tasks.source import SPLITS, Split, TaskSource
from quickstudy.tasks.transforms import Transform

__all__ = ["Augmented", "augmented"]

_PLACES = 2**32  # of the random stream for every task, more than a task has images


def augmented(source: TaskSource, transforms: Sequence[Transform], splits: Sequence[str] = ("train",)) -> TaskSource:
    """The same tasks, their images changed by `transforms` one after the other.

    letters = augmented(glyphs().episodes(5, 1), [QuarterTurns(), Shift(2)])

    Args:
        source: tasks of images, `[channel, height, width]` each.
        transforms: see `quickstudy.tasks.transforms`.
        splits: whose tasks are changed. Scores on changed test tasks compare with no others.

    Raises:
        ValueError: no transforms, or an unknown split; when a split is first asked for, a transform per class of tasks
            that have none.
    """
    unknown = [name for name in splits if name not in SPLITS]
    if unknown or not splits:
        raise ValueError(f"splits must be some of {', '.join(SPLITS)}, got {tuple(splits)!r}")
    if not transforms:
        raise ValueError("transforms is empty: there is nothing to change")

    def split(name: str) -> Split:
        inner: Split = getattr(source, name)
        return Augmented(inner, transforms) if name in splits else inner

    train, validation, test = (partial(split, name) for name in SPLITS)
    told = {"splits": list(splits), "transforms": [repr(transform) for transform in transforms]}
    return TaskSource(train, validation, test, {**source.protocol, "augmentation": told})


class Augmented(Split):
    """The tasks of one split, their images changed by `transforms`.

    Args:
        split: where the tasks come from.
        transforms: applied one after the other.

    Raises:
        ValueError: a transform per class, and tasks without classes.
    """

    def __init__(self, split: Split, transforms: Sequence[Transform]) -> None:
        self.split, self.transforms = split, tuple(transforms)
        self.name, self.size, self.kind, self.ways = split.name, split.size, split.kind, split.ways
        if split.kind != "classification":
            for transform in self.transforms:
                if transform.per == "class":
                    raise ValueError(f"{transform} draws per class, but the tasks are {split.kind}")

    def to(self, device: Any) -> "Augmented":
        """The same tasks with their data on `device`, changed there."""
        return Augmented(self.split.to(device), self.transforms)

    def draw(self, first: int, count: int, seed: int) -> TaskBatch:
        """The tasks `first` … `first + count − 1`.

        Raises:
            TypeError: their inputs are no floating-point images.
        """
        batch = self.split.draw(first, count, seed)
        by_class = None
        if batch.classes is not None:
            by_class = self._numbers("class", "classes", first, batch.classes.shape, seed).to(batch.classes.device)
        support = self._changed(batch.support, "support", first, seed, by_class)
        query = self._changed(batch.query, "query", first, seed, by_class)
        return TaskBatch(support, query, batch.classes, batch.descriptor)

    def _changed(
        self, examples: Examples, role: str, first: int, seed: int, by_class: Float[Tensor, "task way numbers"] | None
    ) -> Examples:
        x = examples.x
        if not isinstance(x, Tensor) or x.ndim != 5 or not x.is_floating_point():
            found = f"{x.dtype} {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
            raise TypeError(f"only images [task, n, channel, height, width], floats, can be augmented; got {found}")
        if not x.numel():
            return examples
        numbers = {"image": self._numbers("image", role, first, x.shape[:2], seed).to(x.device)}
        if by_class is not None:
            label = examples.y.clamp(0, by_class.shape[1] - 1)  # those of padding may be anything
            numbers["class"] = by_class.gather(1, label[..., None].expand(-1, -1, by_class.shape[2]))
        images, used = x.flatten(0, 1), dict.fromkeys(numbers, 0)
        for transform in self.transforms:
            start = used[transform.per]
            used[transform.per] = end = start + transform.numbers
            images = transform(images, numbers[transform.per][..., start:end].flatten(0, 1))
        changed = images.unflatten(0, x.shape[:2])
        return Examples(torch.where(examples.mask[..., None, None, None], changed, x), examples.y, examples.mask)

    def _numbers(
        self, per: str, role: str, first: int, shape: torch.Size, seed: int
    ) -> Float[Tensor, "task place numbers"]:
        """Uniform numbers for the transforms that are `per` image or class."""
        tasks, places = shape
        each = sum(transform.numbers for transform in self.transforms if transform.per == per)
        stream = f"augmented/{self.name}/{role}"
        # Task by task: how many places there are may differ between batches, and the numbers must not.
        rows = [draws.uniforms(seed, stream, (first + task) * _PLACES, places, each) for task in range(tasks)]
        numbers = torch.from_numpy(np.stack(rows)).float() if rows else torch.empty(0, places, each)
        return numbers.clamp(max=1 - 2**-24)  # rounding must not reach 1
