"""Histograms of oriented gradients: features that people made by hand, before networks learned theirs.

Dalal & Triggs, "Histograms of Oriented Gradients for Human Detection", CVPR 2005.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from quickstudy.arguments import check_whole
from quickstudy.networks.network import Network, expect_images, folded
from quickstudy.networks.normalization import Statistics
from quickstudy.rebuild import register
from quickstudy.tasks.batch import Tree

__all__ = ["OrientedGradients"]

_EPSILON = 1e-5
_CLIP = 0.2


@register
class OrientedGradients(Network):
    """HOG: in every cell a histogram of edge directions, weighted by their strength; blocks of cells are normalised.

    The definition is that of scikit-image's `hog` with its defaults (central differences, directions without sign,
    L2-Hys), here for all images at once. Of several channels, the one with the strongest gradient counts at a pixel.
    There are no weights.

    Args:
        channels: channels of the images.
        size: their height and width, in pixels.
        cell: height and width of a cell, in pixels.
        block: height and width of a block, in cells.
        directions: bins of the histogram, over half a turn.

    Raises:
        ValueError: numbers below one, or images smaller than a block.
    """

    def __init__(self, channels: int = 1, size: int = 28, cell: int = 7, block: int = 2, directions: int = 9) -> None:
        super().__init__()
        check_whole(channels=channels, size=size, cell=cell, block=block, directions=directions)
        if min(channels, cell, block, directions) < 1 or size < cell * block:
            raise ValueError(
                "channels, cell, block and directions must be at least 1 and size at least a block, got "
                f"{channels}, {cell}, {block}, {directions} and {size}"
            )
        self.channels, self.size, self.cell, self.block, self.directions = channels, size, cell, block, directions
        blocks = size // cell - block + 1
        self.width = blocks * blocks * block * block * directions

    def forward(
        self, x: Tree, mask: Bool[Tensor, "task n"], statistics: Statistics | None = None
    ) -> tuple[Float[Tensor, "task n width"], Statistics]:
        images = expect_images(x, self.channels, "OrientedGradients")
        if images.shape[-2:] != (self.size, self.size):
            raise ValueError(
                f"OrientedGradients was built for {self.size}×{self.size} images, got {tuple(images.shape[-2:])}"
            )
        return folded(self._features, images), {}

    def _features(self, images: Float[Tensor, "example channel height width"]) -> Float[Tensor, "example feature"]:
        down, right = torch.zeros_like(images), torch.zeros_like(images)
        down[..., 1:-1, :] = images[..., 2:, :] - images[..., :-2, :]
        right[..., 1:-1] = images[..., 2:] - images[..., :-2]
        strength = (down.square() + right.square()).sqrt()
        strength, strongest = strength.max(1)
        down, right = (part.gather(1, strongest[:, None])[:, 0] for part in (down, right))
        turn = torch.atan2(down, right).remainder(math.pi) * (self.directions / math.pi)
        bins = turn.floor().long().clamp(max=self.directions - 1)  # rounding may give half a turn
        votes = F.one_hot(bins, self.directions).movedim(-1, 1).to(strength.dtype) * strength[:, None]
        cells = F.avg_pool2d(votes, self.cell)
        # [example, block row, block column, row, column, direction], in the order that scikit-image has
        blocks = cells.unfold(2, self.block, 1).unfold(3, self.block, 1).permute(0, 2, 3, 4, 5, 1)
        flat = blocks.flatten(3)
        clipped = _unit(flat).clamp(max=_CLIP)
        return _unit(clipped).flatten(1)


def _unit(x: Float[Tensor, "*block feature"]) -> Float[Tensor, "*block feature"]:
    return x / (x.square().sum(-1, keepdim=True) + _EPSILON**2).sqrt()
