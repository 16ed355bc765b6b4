"""A multi-layer perceptron for vectors (or anything that can be flattened into one)."""

from collections.abc import Sequence
from itertools import pairwise

import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from quickstudy.arguments import check_whole
from quickstudy.networks.network import Network, expect_precision
from quickstudy.networks.normalization import Normalization, Policy, Statistics
from quickstudy.rebuild import register
from quickstudy.tasks.batch import Tree

__all__ = ["MLP"]


@register
class MLP(Network):
    """Linear layers, each followed by normalization and ReLU.

    Args:
        inputs: numbers per example; axes after `[task, n]` are flattened.
        hidden: widths of the layers; the last is the width of the features.
        normalization: policy of the normalization layers; none by default.

    Raises:
        ValueError: no layer, or a width below one; and when called, inputs of another length, or none of them real
            numbers.
    """

    adaptable = True

    def __init__(self, inputs: int, hidden: Sequence[int] = (40, 40), normalization: Policy = "none") -> None:
        super().__init__()
        if not isinstance(hidden, Sequence) or isinstance(hidden, str):
            raise TypeError(f"hidden must be a sequence of widths such as (40, 40), got {hidden!r}")
        check_whole(inputs=inputs, **{f"hidden[{place}]": width for place, width in enumerate(hidden)})
        if inputs < 1 or not hidden or min(hidden) < 1:
            raise ValueError(f"inputs and hidden must be positive, got {inputs} and {hidden!r}")
        self.inputs, self.hidden, self.normalization = inputs, tuple(hidden), normalization
        widths = (inputs, *hidden)
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.normalizations = nn.ModuleList(Normalization(width, normalization) for width in hidden)
        self.width = widths[-1]

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (self.inputs,)

    def forward(
        self, x: Tree, mask: Bool[Tensor, "task n"], statistics: Statistics | None = None
    ) -> tuple[Float[Tensor, "task n width"], Statistics]:
        if not isinstance(x, Tensor):
            raise TypeError(f"MLP takes one tensor, got {type(x).__name__}; wrap a module of your own as PerExample")
        hidden, kept = x.flatten(2) if x.ndim > 2 else x[..., None], {}
        if not hidden.is_floating_point() or hidden.shape[-1] != self.inputs:
            raise ValueError(
                f"MLP takes {self.inputs} floating-point numbers per example, got {hidden.dtype} {tuple(x.shape[2:])}"
            )
        expect_precision(hidden, self)
        for number, (layer, normalization) in enumerate(zip(self.layers, self.normalizations, strict=True)):
            name = f"layer{number}"
            hidden, kept[name] = normalization(layer(hidden), mask, statistics[name] if statistics else None)
            hidden = F.relu(hidden)
        return hidden, kept
