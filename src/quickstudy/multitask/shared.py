"""Named tasks that share their inputs: several targets of the same examples, some of them missing."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from quickstudy.multitask.batch import SharedBatch
from quickstudy.tasks import draws
from quickstudy.tasks.batch import Tree, map_tensors
from quickstudy.tasks.source import Sampler

__all__ = ["SharedSplit", "part_of"]


class SharedSplit(Sampler[SharedBatch]):
    """Examples with a target for each of several tasks, or for some.

    In training the examples are gone through in shuffled rounds. In the other splits the draws follow the data: the
    draws 0 … size − 1 are every example exactly once, and later ones are masked.

    Args:
        name: the split's name.
        x: inputs, a tensor or tree of tensors `[n, ...]`.
        y: targets `[n, ...]` of every task.
        mask: `[n]` bool of every task, True where there is a target.
    """

    size: int

    def __init__(self, name: str, x: Tree, y: Mapping[str, Tensor], mask: Mapping[str, Tensor]) -> None:
        self.name, self.x, self.y, self.mask = name, x, dict(y), dict(mask)
        self.size = len(tree_leaves(x)[0])

    def to(self, device: Any) -> "SharedSplit":
        """The same examples on `device`."""
        y, mask = ({task: leaf.to(device) for task, leaf in those.items()} for those in (self.y, self.mask))
        return SharedSplit(self.name, map_tensors(lambda leaf: leaf.to(device), self.x), y, mask)

    def draw(self, first: int, count: int, seed: int) -> SharedBatch:
        """The draws `first` … `first + count − 1`."""
        training = self.name == "train"
        stream = f"shared/{self.name}"
        device = tree_leaves(self.x)[0].device
        rows = torch.from_numpy(draws.rounds(seed, stream, first, count, self.size, shuffle=training)).to(device)
        real = (torch.arange(first, first + count, device=device) < self.size) | training
        x = map_tensors(lambda leaf: leaf[rows][None], self.x)
        mask = {task: (there[rows] & real)[None] for task, there in self.mask.items()}
        y = {task: targets[rows][None] for task, targets in self.y.items()}
        return SharedBatch(x, y, mask, {task: those.sum(1).float() for task, those in mask.items()})

    def sample(self, step: int, size: int, seed: int, *, rank: int = 0, world: int = 1) -> SharedBatch:
        """As `Sampler.sample`; means are over the targets of the whole batch."""
        super().sample(step, size, seed, rank=rank, world=world)
        return part_of(self.draw(step * size, size, seed), rank, world)


def part_of(batch: SharedBatch, rank: int, world: int) -> SharedBatch:
    """What one of several processes has of a batch. Some may have more targets of a task than others: the divisors of
    means are those of the whole batch."""
    if world == 1:
        return batch
    part = next(iter(batch.mask.values())).shape[1] // world
    mine = slice(rank * part, (rank + 1) * part)
    x, y, mask = map_tensors(lambda leaf: leaf[:, mine], (batch.x, batch.y, batch.mask))
    return SharedBatch(x, y, mask, {task: count / world for task, count in batch.count.items()})
