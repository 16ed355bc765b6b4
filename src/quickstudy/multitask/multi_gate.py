"""Multi-gate mixture of experts: experts that all tasks share, and a gate for every task that mixes them.

Ma, Zhao, Yi, Chen, Hong & Chi, "Modeling Task Relationships in Multi-task Learning with Multi-gate Mixture-of-Experts",
KDD 2018. Dropout of experts: Zhao et al., "Recommending What Video to Watch Next", RecSys 2019.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from quickstudy.arguments import check_whole
from quickstudy.multitask.batch import rows
from quickstudy.multitask.experts import Experts, check_dropout, gated
from quickstudy.multitask.heads import Parallel, check_widths, of_rows
from quickstudy.multitask.module import NamedModule, Objectives, trunk
from quickstudy.rebuild import register
from quickstudy.tasks.batch import Tree
from quickstudy.tasks.likelihood import Reduction

__all__ = ["MultiGateMixture", "used"]


@register
class MultiGateMixture(NamedModule):
    """y_i = h_i(Σ_k g_ik(x) f_k(x)), g_i = softmax(W_i x): MMoE.

    Args:
        network: what comes before the experts, shared by all: `Inputs` for none.
        likelihoods: what the outputs of each task's head mean.
        experts: how many. With one this is a shared bottom.
        hidden: widths of the layers of an expert.
        tower: widths of hidden layers that each task has of its own, before its output layer.
        dropout: the probability of leaving an expert out of an example's mixture, in training.
        reduction: mean or sum over the examples of a task.

    Raises:
        ValueError: no task, no expert, no layer, or a dropout that is no probability below one.
    """

    def __init__(
        self,
        network: nn.Module,
        likelihoods: Objectives,
        experts: int = 8,
        hidden: Sequence[int] = (64,),
        tower: Sequence[int] = (),
        dropout: float = 0.0,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(likelihoods, reduction)
        check_whole(experts=experts)
        if experts < 1:
            raise ValueError(f"experts must be at least 1, got {experts}")
        check_dropout(dropout)
        self.network, self.hidden, self.dropout = trunk(network), check_widths("hidden", hidden), dropout
        self.experts, self.tower = experts, tuple(tower)
        self.mixture = Experts(experts, self.network.width, self.hidden)
        self.gates = Parallel(len(self.tasks), self.network.width, experts)
        self.heads = self._heads(self.hidden[-1], tower)

    def own_parameters(self) -> list[nn.Parameter]:
        return [*self.gates.parameters(), *self.heads.parameters()]

    def raw(
        self, x: Tree, mask: Bool[Tensor, "row n"], tasks: Sequence[int], of: Sequence[int]
    ) -> Float[Tensor, "task n outputs"]:
        features, _ = self.network(x, mask)
        said = of_rows(self.mixture(features.expand(self.experts, *features.shape)).transpose(0, 1), of)
        return self.heads(torch.einsum("tnk,tknw->tnw", self._shares(features, tasks, of), said), tasks)

    def _shares(
        self, features: Float[Tensor, "row n width"], tasks: Sequence[int], of: Sequence[int]
    ) -> Float[Tensor, "task n expert"]:
        return gated(self.gates(of_rows(features, of), tasks), self.dropout, self.training)

    @torch.no_grad()
    def gate_usage(self, batch: Any) -> dict[str, Float[Tensor, " expert"]]:
        """The share that each expert has, on average over a batch's examples of a task (NaN for a task without)."""
        view = rows(batch)
        features, _ = self.network(view.x, view.mask)
        shares = self._shares(features, [self._number(task) for task in view.labels], view.of)
        return {task: used(share, one.mask[0]) for share, (task, one) in zip(shares, view.labels.items(), strict=True)}


def used(share: Float[Tensor, "n expert"], mask: Bool[Tensor, " n"]) -> Float[Tensor, " expert"]:
    """The mean share over real examples."""
    return share[mask].mean(0)
