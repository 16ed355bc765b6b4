"""Choosing weights: the score of a module on fixed tasks, the same every time."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from quickstudy.multitask import SharedBatch
from quickstudy.tasks import Examples
from quickstudy.tasks.source import Sampler
from quickstudy.training.backward import Losses, flat
from quickstudy.training.fabric import to_module

__all__ = ["Score", "Validation"]

Score: TypeAlias = Callable[[nn.Module, Any], Losses]


@dataclass(frozen=True)
class Validation:
    """What weights are chosen by.

    Attributes:
        tasks: the draws 0 … size − 1 with the seed 0 are used.
        size: how many.
        every: steps between validations.
        score: (module, batch) → numbers whose mean is to be low; or, for named tasks, a number for each.
        patience: stop after that many in a row without improvement; None never stops.
    """

    tasks: Sampler[Any]
    size: int
    every: int
    score: Score
    patience: int | None

    @torch.no_grad()
    def value(self, module: nn.Module, fabric: Fabric, batch_size: int) -> float:
        """The mean score over tasks; for named tasks, the mean over their names of the mean over their examples.

        It depends neither on `batch_size` nor on the number of processes, which share the work.
        """
        module.eval()
        parts = []
        for number, first in enumerate(range(0, self.size, batch_size)):
            if number and number % fabric.world_size != fabric.global_rank:
                continue
            batch = to_module(self.tasks.draw(first, min(batch_size, self.size - first), 0), module, fabric)
            with fabric.autocast():
                scores = self.score(module, batch)
            rows = _totals(scores, batch, getattr(module, "reduction", "mean")).to(fabric.device)
            # Everyone makes the first batch, so that all know how many rows there are; one of them counts it.
            mine = number % fabric.world_size == fabric.global_rank
            parts.append(rows * mine)
        module.train()
        totals = fabric.all_reduce(torch.stack(parts).sum(0), reduce_op="sum")
        assert isinstance(totals, Tensor)  # Fabric also reduces trees
        scored = totals[totals[:, 1] > 0]
        return float((scored[:, 0] / scored[:, 1]).mean())


def _totals(scores: Losses, batch: Any, reduction: str) -> Tensor:
    """`[row, 2]` sums and what to divide them by: one row for tasks, a row per name for named tasks."""
    if not isinstance(scores, dict) or not isinstance(batch, dict | SharedBatch):
        values = flat(scores).double()
        return torch.stack([values.sum(), values.new_tensor(len(values))])[None]
    return torch.stack([_named(scores[name], examples, reduction) for name, examples in batch.items()])


def _named(score: Tensor, examples: Examples, reduction: str) -> Tensor:
    """A mean over a batch's examples counts as often as it has examples: a batch at the end of the data has few."""
    count = examples.mask.sum().double()
    return torch.stack([score.double().sum() * (count if reduction == "mean" else 1), count])
