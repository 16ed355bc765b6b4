"""The four-block convolutional network that few-shot methods are compared with.

Vinyals et al., "Matching Networks for One Shot Learning", NeurIPS 2016; Snell et al. 2017; Finn et al. 2017.
"""

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

    Raises:
        ValueError: no channel or filter, or images of fewer than 16 pixels, so that nothing would be left of them.
    """

    def __init__(self, channels: int = 1, size: int = 28, filters: int = 64, normalization: Policy = "support") -> None:
        super().__init__()
        check_whole(channels=channels, size=size, filters=filters)
        if min(channels, filters) < 1:
            raise ValueError(f"channels and filters must be positive, got {channels} and {filters}")
        if size < 16:
            raise ValueError(f"size must be at least 16 pixels (it is halved four times), got {size}")
        self.channels, self.size, self.filters, self.normalization = channels, size, filters, normalization
        self.convolutions = nn.ModuleList(
            nn.Conv2d(channels if block == 0 else filters, filters, 3, padding=1) for block in range(4)
        )
        self.normalizations = nn.ModuleList(Normalization(filters, normalization) for _ in range(4))
        self.width = filters * (size // 16) ** 2
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

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
            # Pooling first: it commutes with the ReLU, and leaves that a quarter of the work.
            hidden = F.relu(F.max_pool2d(wide.flatten(0, 1), 2))
        return hidden.flatten(1).unflatten(0, tasks_and_n), kept
