"""Task attention: one network for all, and for every task masks that choose among its features at every layer.

Liu, Johns & Davison, "End-to-End Multi-Task Learning with Attention", CVPR 2019 (MTAN), on fully connected layers where
the paper has convolutions.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from quickstudy.multitask.heads import Parallel, check_widths, of_rows
from quickstudy.multitask.module import NamedModule, Objectives, trunk
from quickstudy.rebuild import register
from quickstudy.tasks.batch import Tree
from quickstudy.tasks.likelihood import Reduction

__all__ = ["TaskAttention"]


@register
class TaskAttention(NamedModule):
    """The shared block l has two layers, u = relu(U p), p ← relu(P u); for task i, with the features f_i before it,

        a_i = σ(h_i(relu(g_i([u, f_i])))),   f_i ← relu(F (a_i ⊙ p))

    g and h are each task's own, F is common.

    Args:
        network: what comes before, shared by all: `Inputs` for none.
        likelihoods: what the outputs of each task's head mean.
        hidden: widths of the blocks.
        reduction: mean or sum over the examples of a task.

    Raises:
        ValueError: no task or no block.
    """

    def __init__(
        self,
        network: nn.Module,
        likelihoods: Objectives,
        hidden: Sequence[int] = (64, 64),
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(likelihoods, reduction)
        self.network, self.hidden = trunk(network), check_widths("hidden", hidden)
        before = (self.network.width, *self.hidden[:-1])
        count, both = len(self.tasks), list(zip(before, self.hidden, strict=True))
        self.first = nn.ModuleList(nn.Linear(a, b) for a, b in both)
        self.second = nn.ModuleList(nn.Linear(b, b) for _, b in both)
        self.onward = nn.ModuleList(nn.Linear(b, b) for _, b in both)
        earlier = (0, *self.hidden[:-1])  # the first block has no features of a task before it
        self.query = nn.ModuleList(Parallel(count, w + e, w) for w, e in zip(self.hidden, earlier, strict=True))
        self.attend = nn.ModuleList(Parallel(count, w, w) for w in self.hidden)
        self.heads = self._heads(self.hidden[-1])

    def own_parameters(self) -> list[nn.Parameter]:
        return [*self.query.parameters(), *self.attend.parameters(), *self.heads.parameters()]

    def raw(
        self, x: Tree, mask: Bool[Tensor, "row n"], tasks: Sequence[int], of: Sequence[int]
    ) -> Float[Tensor, "task n outputs"]:
        shared, _ = self.network(x, mask)
        own: Tensor | None = None
        for first, second, onward, query, attend in zip(
            self.first, self.second, self.onward, self.query, self.attend, strict=True
        ):
            early = F.relu(first(shared))
            shared = F.relu(second(early))
            asked = of_rows(early, of) if own is None else torch.cat([of_rows(early, of), own], -1)
            attention = torch.sigmoid(attend(F.relu(query(asked, tasks)), tasks))
            own = F.relu(onward(attention * of_rows(shared, of)))
        return self.heads(own, tasks)
