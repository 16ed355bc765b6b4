"""Soft parameter sharing: a network for every task, and a penalty that pulls their weights towards each other.

Duong, Cohn, Bird & Cook, "Low Resource Dependency Parsing: Cross-lingual Parameter Sharing in a Neural Network Parser",
ACL 2015 (squared distances). Yang & Hospedales, "Trace Norm Regularised Deep Multi-Task Learning", ICLR workshop 2017.
"""

from typing import Literal, TypeAlias, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from quickstudy.arguments import check_real
from quickstudy.multitask.batch import Rows
from quickstudy.multitask.module import Objectives
from quickstudy.multitask.separate import SeparateNetworks
from quickstudy.rebuild import register
from quickstudy.tasks.likelihood import Reduction

__all__ = ["SoftSharing"]

Pull: TypeAlias = Literal["distance", "trace"]


@register
class SoftSharing(SeparateNetworks):
    """Separate networks whose weights are pulled towards each other. Heads are not.

    Each task's loss has its own part of the penalty, so that nothing but `forward` knows of it; a task without targets
    pays none, and its weights stay. The sum of the parts and its gradient are those of

        distance   λ/2 Σ_i ‖W_i − W̄‖²        W̄ the mean over tasks
        trace      λ Σ_layers ‖[W_1 … W_T]‖_*  a row for each task; few singular values: weights of few common parts

    Args:
        network, likelihoods, reduction: as of `SeparateNetworks`.
        strength: λ. With 0 these are separate networks; as it grows, with `distance`, they become one.
        pull: which of the two penalties.

    Raises:
        ValueError: a negative strength, an unknown pull, or what `SeparateNetworks` refuses.
    """

    def __init__(
        self,
        network: nn.Module,
        likelihoods: Objectives,
        strength: float = 1e-2,
        pull: Pull = "distance",
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(network, likelihoods, reduction)
        check_real(strength=strength)
        if strength < 0:
            raise ValueError(f"strength must not be negative, got {strength}")
        if pull not in get_args(Pull):
            raise ValueError(f"pull must be 'distance' or 'trace', got {pull!r}")
        self.strength, self.pull = strength, pull

    def penalties(self) -> Float[Tensor, " task"]:
        """Every task's part of the penalty, λ included."""
        if self.pull == "distance":
            parts = [_distances(leaf.flatten(1)) for leaf in self.weights]
        else:
            parts = [_traces(leaf.flatten(1)) for leaf in self.weights]
        return self.strength * torch.stack(parts).sum(0)

    def _losses(self, raw: Float[Tensor, "task n outputs"], view: Rows) -> dict[str, Float[Tensor, ""]]:
        losses = super()._losses(raw, view)
        if self.strength == 0:
            return losses
        penalties = self.penalties()
        return {
            task: loss + penalties[self._number(task)] * view.labels[task].mask.any().to(loss.dtype)
            for task, loss in losses.items()
        }


def _distances(rows: Float[Tensor, "task n"]) -> Float[Tensor, " task"]:
    # Σ_i (W_i − W̄) = 0: what W̄ adds to the gradient of the sum is nothing, and so it can be held fixed.
    return (rows - rows.mean(0).detach()).square().sum(1) / 2


def _traces(rows: Float[Tensor, "task n"]) -> Float[Tensor, " task"]:
    """⟨W_i, (U Vᵀ)_i⟩ with W = U S Vᵀ: their sum is tr S, and U Vᵀ is the gradient of that."""
    u, s, v = torch.linalg.svd(rows.detach().float(), full_matrices=False)
    # Where a singular value is zero every direction is a subgradient, zero among them.
    kept = s > s[0] * torch.finfo(s.dtype).eps * max(rows.shape)
    return (rows * ((u * kept) @ v).to(rows.dtype)).sum(1)
