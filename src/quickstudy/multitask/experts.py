"""Experts and gates: several small networks side by side, and mixtures of what they say."""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from quickstudy.arguments import check_real
from quickstudy.multitask.heads import Parallel

__all__ = ["Experts", "check_dropout", "gated"]


class Experts(nn.Module):
    """Networks of one architecture, layers with ReLU, as one batched product.

    Args:
        count: how many.
        inputs: numbers that each takes.
        hidden: widths of its layers.
    """

    def __init__(self, count: int, inputs: int, hidden: Sequence[int]) -> None:
        super().__init__()
        self.count = count
        self.layers = nn.ModuleList(Parallel(count, a, b) for a, b in pairwise((inputs, *hidden)))

    def forward(self, x: Float[Tensor, "expert *n inputs"]) -> Float[Tensor, "expert *n width"]:
        for layer in self.layers:
            x = F.relu(layer(x))
        return x


def gated(logits: Float[Tensor, "*n expert"], dropout: float, training: bool) -> Float[Tensor, "*n expert"]:
    """Shares of the experts, which sum to one.

    In training each expert is left out of an example's mixture with probability `dropout`, and the shares of the
    others grow in proportion. A gate that relies on one expert then fails now and then, which keeps it from collapsing
    onto it. Where all would be left out, none is.
    """
    if training and dropout > 0:
        kept = torch.rand_like(logits) >= dropout
        kept = kept | ~kept.any(-1, keepdim=True)
        logits = logits.masked_fill(~kept, -torch.inf)
    return logits.softmax(-1)


def check_dropout(dropout: float) -> None:
    """Refuse what is no probability below one."""
    check_real(dropout=dropout)
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout must be a probability below 1, got {dropout}")
