"""ResNet-12, the residual network of few-shot image classification.

Four residual blocks of three 3×3 convolutions, global average pooling, no DropBlock: the variant of TADAM's depth that
Meta-Baseline uses.

Oreshkin et al., "TADAM", NeurIPS 2018; Chen et al., "Meta-Baseline", ICCV 2021.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from quickstudy.arguments import check_whole
from quickstudy.networks.network import Network, channels_last, expect_images, expect_precision
from quickstudy.networks.normalization import Normalization, Policy, Statistics
from quickstudy.rebuild import register

__all__ = ["ResNet12"]


@register
class ResNet12(Network):
    """Twelve convolutions in four residual blocks, each halving height and width.

    Args:
        channels: channels of the images.
        filters: channels of the four blocks; the last is the width of the features.
        normalization: policy of the normalization layers.

    Raises:
        ValueError: not four positive numbers of filters, no channel; and when called, images of fewer than 16 pixels.
    """

    adaptable = True

    def __init__(
        self, channels: int = 3, filters: Sequence[int] = (64, 128, 256, 512), normalization: Policy = "support"
    ) -> None:
        super().__init__()
        if not isinstance(filters, Sequence) or isinstance(filters, str):
            raise TypeError(f"filters must be a sequence of four numbers, got {filters!r}")
        check_whole(channels=channels, **{f"filters[{place}]": width for place, width in enumerate(filters)})
        if channels < 1 or len(filters) != 4 or min(filters) < 1:
            raise ValueError(
                f"channels must be positive and filters must be four positive numbers, got {channels} and {filters!r}"
            )
        self.channels, self.filters, self.normalization = channels, tuple(filters), normalization
        before = (channels, *filters[:3])
        self.blocks = nn.ModuleList(_Block(i, o, normalization) for i, o in zip(before, filters, strict=True))
        self.width = filters[-1]
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(
        self,
        x: Float[Tensor, "task n channel height width"],
        mask: Bool[Tensor, "task n"],
        statistics: Statistics | None = None,
    ) -> tuple[Float[Tensor, "task n features"], Statistics]:
        expect_images(x, self.channels, "ResNet12")
        expect_precision(x, self)
        if min(x.shape[-2:]) < 16:
            raise ValueError(
                f"ResNet12 takes images of at least 16 pixels (they are halved four times), got {tuple(x.shape[-2:])}"
            )
        hidden = channels_last(x)
        kept: Statistics = {}
        for number, block in enumerate(self.blocks):
            hidden = block(hidden, mask, f"block{number}", statistics, kept)
        return hidden.mean((2, 3)).unflatten(0, x.shape[:2]), kept


class _Block(nn.Module):
    """Three convolutions, a 1×1 shortcut around them, 2×2 max-pooling."""

    def __init__(self, channels: int, filters: int, policy: Policy) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.Conv2d(channels if layer == 0 else filters, filters, 3, padding=1, bias=False) for layer in range(3)
        )
        self.shortcut = nn.Conv2d(channels, filters, 1, bias=False)
        self.normalizations = nn.ModuleList(Normalization(filters, policy) for _ in range(4))

    def forward(
        self, x: Tensor, mask: Tensor, name: str, statistics: Statistics | None, kept: Statistics
    ) -> Float[Tensor, "example filters height width"]:
        def normalised(layer: int, wide: Tensor) -> Tensor:
            place = f"{name}.{layer}"
            given = statistics[place] if statistics else None
            out, kept[place] = self.normalizations[layer](wide.unflatten(0, mask.shape), mask, given)
            return out.flatten(0, 1)

        hidden = x
        for layer, convolution in enumerate(self.convolutions):
            hidden = normalised(layer, convolution(hidden))
            if layer < 2:
                hidden = F.leaky_relu(hidden, 0.1)
        hidden = F.leaky_relu(hidden + normalised(3, self.shortcut(x)), 0.1)
        return F.max_pool2d(hidden, 2)
