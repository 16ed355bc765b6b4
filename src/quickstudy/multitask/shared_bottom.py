"""Shared bottom: one trunk for all tasks, one head for each.

Caruana, "Multitask Learning", Machine Learning 1997.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.utils._pytree import tree_leaves, tree_map

from quickstudy.multitask.named import NamedBatch
from quickstudy.networks import as_network
from quickstudy.rebuild import register
from quickstudy.tasks.batch import Tree, masked_to_zero
from quickstudy.tasks.likelihood import Likelihood, Reduction

__all__ = ["SharedBottom"]


@register
class SharedBottom(nn.Module):
    """Hard parameter sharing over named tasks with losses of their own.

    `module(batch)` is one loss per task, by name. A task without examples in a batch has the loss 0 and no gradient.

    Args:
        network: the trunk. Its normalization may not need a support set: `running`, `layer`, `group` or `none`.
        likelihoods: what the outputs of each task's head mean.
        reduction: mean or sum over the examples of a task.

    Raises:
        ValueError: no task, an unsuitable normalization, or an unknown reduction.
    """

    def __init__(
        self, network: nn.Module, likelihoods: Mapping[str, Likelihood], reduction: Reduction = "mean"
    ) -> None:
        super().__init__()
        self.network = as_network(network)
        if not likelihoods:
            raise ValueError("likelihoods is empty: there must be at least one task")
        if self.network.normalization in ("support", "transductive", "task"):
            raise ValueError(
                f"the network's normalization is {self.network.normalization!r}, but named tasks have no support set; "
                "use 'running', 'layer', 'group' or 'none'"
            )
        if reduction not in ("mean", "sum"):
            raise ValueError(f"reduction must be 'mean' or 'sum', got {reduction!r}")
        heads = nn.ModuleDict()
        for task in likelihoods:
            if not task or "." in task or hasattr(heads, task):
                raise ValueError(f"likelihoods names a task {task!r}, which torch cannot take as a module's name")
        self.likelihoods, self.reduction = dict(likelihoods), reduction
        self.heads = nn.ModuleDict(
            {task: nn.Linear(self.network.width, likelihood.outputs) for task, likelihood in likelihoods.items()}
        )

    def forward(self, batch: NamedBatch) -> dict[str, Float[Tensor, ""]]:
        """The loss of every task in the batch.

        Raises:
            ValueError: a task that the module was not built for, or batches of unequal length.
        """
        for task, examples in batch.items():
            if task not in self.heads:
                raise ValueError(f"there is no task {task!r}; this module has {', '.join(self.heads)}")
            examples.check(task)
        if len({examples.mask.shape for examples in batch.values()}) > 1:
            lengths = {task: examples.mask.shape[1] for task, examples in batch.items()}
            raise ValueError(f"the tasks of a batch must have equally many (masked) examples, got {lengths}")
        # One pass for all: the tasks become the task axis, so that normalization keeps them apart.
        x = tree_map(lambda *leaves: torch.cat(leaves), *(examples.x for examples in batch.values()))
        mask = torch.cat([examples.mask for examples in batch.values()])
        features, _ = self.network(masked_to_zero(x, mask), mask)
        losses = {}
        for row, (task, examples) in enumerate(batch.items()):
            raw = self.heads[task](features[row : row + 1])
            losses[task] = -self.likelihoods[task].log_prob(raw, examples.inert(), None, self.reduction)[0]
        return losses

    def predict(self, task: str, x: Tree, mask: Bool[Tensor, "1 n"] | None = None) -> Distribution:
        """The predictive distribution of one task for inputs `[1, n, ...]`."""
        if task not in self.heads:
            raise ValueError(f"there is no task {task!r}; this module has {', '.join(self.heads)}")
        first = tree_leaves(x)[0]
        mask = torch.ones(first.shape[:2], dtype=torch.bool, device=first.device) if mask is None else mask
        features, _ = self.network(masked_to_zero(x, mask), mask)
        return self.likelihoods[task].distribution(self.heads[task](features))
