"""The four-block convolutional network that few-shot methods are compared with.

Vinyals et al., "Matching Networks for One Shot Learning", NeurIPS 2016; Snell et al. 2017; Finn et al. 2017.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from quickstudy.arguments import check_whole
from quickstudy.networks.network import Network, channels_last, expect_images, expect_precision
from quickstudy.networks.normalization import Normalization, Policy, Statistics
from quickstudy.rebuild import register

__all__ = ["Conv4"]


@register
class Conv4(Network):
    """Four times: 3×3 convolution, normalization, ReLU, 2×2 max-pooling; then flattened.

    Args:
        channels: channels of the images.
        size: height and width of the images, in pixels; 28 gives 64 features, 84 gives 1,600.
        filters: channels of every block.
        normalization: policy of the normalization layers.
        pools: how many of the blocks, from the first on, end with pooling; relation networks compare the larger maps
            that two leave.

    Raises:
        ValueError: no channel or filter, more than four pools, or images that so much pooling leaves nothing of.
    """

    adaptable = True

    def __init__(
        self,
        channels: int = 1,
        size: int = 28,
        filters: int = 64,
        normalization: Policy = "support",
        pools: int = 4,
    ) -> None:
        super().__init__()
        check_whole(channels=channels, size=size, filters=filters, pools=pools)
        if min(channels, filters) < 1:
            raise ValueError(f"channels and filters must be positive, got {channels} and {filters}")
        if not 0 <= pools <= 4:
            raise ValueError(f"pools must lie in 0 … 4, got {pools}")
        if size < 2**pools:
            raise ValueError(f"size must be at least {2**pools} pixels (it is halved {pools} times), got {size}")
        self.channels, self.size, self.filters, self.normalization = channels, size, filters, normalization
        self.pools = pools
        self.convolutions = nn.ModuleList(
            nn.Conv2d(channels if block == 0 else filters, filters, 3, padding=1) for block in range(4)
        )
        self.normalizations = nn.ModuleList(Normalization(filters, normalization) for _ in range(4))
        self.maps = (filters, size // 2**pools, size // 2**pools)
        self.width = math.prod(self.maps)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (self.channels, self.size, self.size)

    def forward(
        self,
        x: Float[Tensor, "task n channel height width"],
        mask: Bool[Tensor, "task n"],
        statistics: Statistics | None = None,
    ) -> tuple[Float[Tensor, "task n features"], Statistics]:
        expect_images(x, self.channels, "Conv4")
        if x.shape[-2:] != (self.size, self.size):
            raise ValueError(f"Conv4 was built for {self.size}×{self.size} images, got {tuple(x.shape[-2:])}")
        expect_precision(x, self)
        tasks_and_n, kept = x.shape[:2], {}
        hidden = channels_last(x)
        for block, (convolution, normalization) in enumerate(zip(self.convolutions, self.normalizations, strict=True)):
            name = f"block{block}"
            wide = convolution(hidden).unflatten(0, tasks_and_n)
            wide, kept[name] = normalization(wide, mask, statistics[name] if statistics else None)
            hidden = wide.flatten(0, 1)
            # Pooling first: it commutes with the ReLU, and leaves that a quarter of the work.
            hidden = F.relu(F.max_pool2d(hidden, 2) if block < self.pools else hidden)
        return hidden.flatten(1).unflatten(0, tasks_and_n), kept
