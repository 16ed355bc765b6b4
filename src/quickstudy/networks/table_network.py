"""Rows of a table as vectors: columns of unlike scales, some empty, some absent altogether.

    v = clip((x − m) / s, ±c) where there is a value, else 0,      f = W_v v · F / F_there + W_h holes + b

m and s are of each column of the support. F / F_there keeps the scale of a table with few columns (Hollmann et al.,
"TabPFN", ICLR 2023).
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from quickstudy.arguments import check_whole
from quickstudy.networks.network import Network, expect_precision
from quickstudy.networks.normalization import Statistics
from quickstudy.rebuild import register
from quickstudy.tasks.batch import Tree

__all__ = ["TableNetwork"]

_FAR = 6.0  # standard deviations, from where on values are as far away as can be


@register
class TableNetwork(Network):
    """A linear map of the standardised columns and of where they have holes.

    Inputs are `[task, n, 2, features]`: values, and 1 where there is one, else 0. A column without any value in the
    support tells nothing; a table with fewer columns leaves the last ones empty.

    Args:
        features: the most columns that a table may have.
        width: of the features.

    Raises:
        ValueError: a number below one; and when called, inputs of another form.
    """

    def __init__(self, features: int, width: int = 128) -> None:
        super().__init__()
        check_whole(features=features, width=width)
        if min(features, width) < 1:
            raise ValueError(f"features and width must be at least 1, got {features} and {width}")
        self.features, self.width = features, width
        self.values = nn.Linear(features, width)
        self.holes = nn.Linear(features, width, bias=False)

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (2, self.features)

    @property
    def normalization(self) -> str:  # type: ignore[override]
        return "support"

    def forward(
        self, x: Tree, mask: Bool[Tensor, "task n"], statistics: Statistics | None = None
    ) -> tuple[Float[Tensor, "task n width"], Statistics]:
        if not isinstance(x, Tensor) or x.shape[2:] != (2, self.features) or not x.is_floating_point():
            found = f"{x.dtype} {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
            raise ValueError(f"TableNetwork takes floating-point x [task, n, 2, {self.features}], got {found}")
        expect_precision(x, self)
        value, there = x[:, :, 0], x[:, :, 1]
        kept = _moments(value, there * mask[..., None].to(x.dtype)) if statistics is None else statistics["columns"]
        known = (kept["count"] > 0).to(x.dtype)[:, None]
        there = there * known
        # A column of one value has nothing to scale but what rounding its mean has left.
        floor = 1e-10 * kept["mean"].square() + 1e-12
        scaled = (value - kept["mean"][:, None]) * torch.rsqrt(kept["variance"] + floor)[:, None]
        share = known.sum(-1, keepdim=True).clamp(min=1) / self.features
        features = self.values(scaled.clamp(-_FAR, _FAR) * there / share)
        return features + self.holes(known - there), {"columns": kept}


def _moments(
    value: Float[Tensor, "task n column"], weight: Float[Tensor, "task n column"]
) -> dict[str, Float[Tensor, "task column"]]:
    """Of the values there are; a column without any has mean 0 and variance 1, and count 0 says so."""
    count = weight.sum(1)
    mean = (value * weight).sum(1) / count.clamp(min=1)
    variance = ((value - mean[:, None]).square() * weight).sum(1) / count.clamp(min=1)
    return {"mean": mean, "variance": torch.where(count > 0, variance, 1.0), "count": count}
