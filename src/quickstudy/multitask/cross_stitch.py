"""Cross-stitch networks: a network for every task, and after each layer learned mixtures of their activations.

Misra, Shrivastava, Gupta & Hebert, "Cross-stitch Networks for Multi-task Learning", CVPR 2016.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from quickstudy.arguments import check_real
from quickstudy.multitask.heads import Parallel, check_widths
from quickstudy.multitask.module import NamedModule, Objectives, trunk
from quickstudy.rebuild import register
from quickstudy.tasks.batch import Tree
from quickstudy.tasks.likelihood import Reduction

__all__ = ["CrossStitch"]


@register
class CrossStitch(NamedModule):
    """h_i ← Σ_j α_ij h_j after every layer; α is learned, and says who uses whose features.

    Args:
        network: what comes before, shared by all: `Inputs` for none.
        likelihoods: what the outputs of each task's head mean.
        hidden: widths of the layers of each task's network.
        own: α_ii at the start; the rest, up to one, is spread over the others.
        reduction: mean or sum over the examples of a task.

    Raises:
        ValueError: no task, no layer, or `own` outside of [0, 1].
    """

    def __init__(
        self,
        network: nn.Module,
        likelihoods: Objectives,
        hidden: Sequence[int] = (64, 64),
        own: float = 0.9,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(likelihoods, reduction)
        check_real(own=own)
        if not 0 <= own <= 1:
            raise ValueError(f"own must be a share in [0, 1], got {own}")
        self.network, self.hidden, self.own = trunk(network), check_widths("hidden", hidden), own
        count = len(self.tasks)
        self.layers = nn.ModuleList(Parallel(count, a, b) for a, b in pairwise((self.network.width, *self.hidden)))
        others = (1 - own) / (count - 1) if count > 1 else 0.0
        start = torch.full((count, count), others).fill_diagonal_(own if count > 1 else 1.0)
        self.alpha = nn.Parameter(start.repeat(len(self.hidden), 1, 1))
        self.heads = self._heads(self.hidden[-1])

    def raw(
        self, x: Tree, mask: Bool[Tensor, "row n"], tasks: Sequence[int], of: Sequence[int]
    ) -> Float[Tensor, "task n outputs"]:
        features, _ = self.network(x, mask)
        # Every network sees the inputs of every task, for each takes from all.
        hidden = features.expand(len(self.tasks), *features.shape)
        for layer, alpha in zip(self.layers, self.alpha, strict=True):
            hidden = torch.einsum("ij,jrnw->irnw", alpha, F.relu(layer(hidden)))
        return self.heads(hidden[list(tasks), list(of)], tasks)

    @property
    def sharing(self) -> Float[Tensor, "layer task task"]:
        """α_ij of every layer: what task i takes of the features of j."""
        return self.alpha.detach()
