"""Random changes of images, as functions of images and uniform numbers, so that nothing is drawn in hiding.

A transform works on a batch of images at once, `[n, channel, height, width]`, each with random numbers of its own. What
it draws anew for every image, or once for all images of a class of a task, is its `per`.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

__all__ = ["ColourJitter", "HorizontalFlip", "Per", "QuarterTurns", "Rotation", "Shift", "Transform"]

Per: TypeAlias = Literal["image", "class"]

Images: TypeAlias = Float[Tensor, "n channel height width"]
Uniform: TypeAlias = Float[Tensor, "n numbers"]


class Transform(ABC):
    """A random change of images.

    Attributes:
        numbers: how many uniform numbers of [0, 1) it needs for an image.
        per: `image`: every image is changed in its own way. `class`: all images of a class of a task, of support and
            query, are changed in the same way, so that there are more classes to learn from.
    """

    numbers: ClassVar[int]
    per: Per

    @abstractmethod
    def __call__(self, images: Images, uniform: Uniform) -> Images:
        """The changed images, a pure function of images and numbers."""


@dataclass(frozen=True)
class QuarterTurns(Transform):
    """Turn by a number of quarters, drawn from `turns` (counter-clockwise); by default per class, as Omniglot's
    characters are multiplied (Santoro et al., "Meta-Learning with Memory-Augmented Neural Networks", ICML 2016). A
    task has a class in one of its turns, so two turns of one class need not be told apart.

    Raises:
        ValueError: no turns, or one that is not 0 … 3; when called, images that a quarter turn does not fit.
    """

    turns: tuple[int, ...] = (0, 1, 2, 3)
    per: Per = "class"
    numbers: ClassVar[int] = 1

    def __post_init__(self) -> None:
        _check_per(self.per)
        if not self.turns or not set(self.turns) <= {0, 1, 2, 3}:
            raise ValueError(f"turns must be some of 0, 1, 2, 3, got {self.turns!r}")

    def __call__(self, images: Images, uniform: Uniform) -> Images:
        height, width = images.shape[-2:]
        if height != width and set(self.turns) & {1, 3}:
            raise ValueError(f"only square images can be turned by a quarter, got {height}×{width}")
        places = torch.arange(height * width, device=images.device).reshape(height, width)
        turned = torch.stack([torch.rot90(places, turns).reshape(height, width) for turns in self.turns]).flatten(1)
        return _taken(images, turned[(uniform[:, 0] * len(self.turns)).long()], height, width)


@dataclass(frozen=True)
class HorizontalFlip(Transform):
    """Mirror left and right, with a probability.

    Raises:
        ValueError: the probability is none.
    """

    probability: float = 0.5
    per: Per = "image"
    numbers: ClassVar[int] = 1

    def __post_init__(self) -> None:
        _check_per(self.per)
        if not 0 <= self.probability <= 1:
            raise ValueError(f"probability must lie in 0 … 1, got {self.probability}")

    def __call__(self, images: Images, uniform: Uniform) -> Images:
        return torch.where(_wide(uniform[:, 0] < self.probability), images.flip(-1), images)


@dataclass(frozen=True)
class Shift(Transform):
    """Move by up to `pixels` in each direction; known too as a random crop of the padded image.

    What comes in at the edges is 0 (`zeros`) or the mirrored image (`reflect`).

    Raises:
        ValueError: negative pixels, an unknown padding; when called, images too small to be mirrored that far.
    """

    pixels: int
    padding: Literal["zeros", "reflect"] = "zeros"
    per: Per = "image"
    numbers: ClassVar[int] = 2

    def __post_init__(self) -> None:
        _check_per(self.per)
        if self.pixels < 0:
            raise ValueError(f"pixels must not be negative, got {self.pixels}")
        if self.padding not in ("zeros", "reflect"):
            raise ValueError(f"padding must be 'zeros' or 'reflect', got {self.padding!r}")

    def __call__(self, images: Images, uniform: Uniform) -> Images:
        height, width = images.shape[-2:]
        if self.padding == "reflect" and self.pixels >= min(height, width):
            raise ValueError(f"images of {height}×{width} pixels cannot be mirrored {self.pixels} beyond an edge")
        padded = F.pad(images, [self.pixels] * 4, mode="constant" if self.padding == "zeros" else "reflect")
        start = (uniform * (2 * self.pixels + 1)).long()  # [n, 2]
        row, column = (torch.arange(length, device=images.device) for length in (height, width))
        stride = padded.shape[-1]
        window = (row[:, None] * stride + column).flatten()
        return _taken(padded, (start[:, :1] * stride + start[:, 1:]) + window, height, width)


@dataclass(frozen=True)
class ColourJitter(Transform):
    """Brightness and contrast, each multiplied by a factor of 1 ± its amount; for images in [0, 1], which they stay in.

    Contrast is about the mean brightness of the image.

    Raises:
        ValueError: an amount is not within [0, 1]; when called, images outside [0, 1].
    """

    brightness: float = 0.4
    contrast: float = 0.4
    per: Per = "image"
    numbers: ClassVar[int] = 2

    def __post_init__(self) -> None:
        _check_per(self.per)
        for name in ("brightness", "contrast"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie in 0 … 1, got {getattr(self, name)}")

    def __call__(self, images: Images, uniform: Uniform) -> Images:
        if images.numel():
            least, most = (float(value) for value in images.aminmax())
            if least < 0 or most > 1:
                raise ValueError(f"ColourJitter is for images in 0 … 1, got values from {least:.3g} to {most:.3g}")
        signed = 2 * uniform.to(images.dtype) - 1
        brightness, contrast = 1 + self.brightness * signed[:, 0], 1 + self.contrast * signed[:, 1]
        lit = (images * _wide(brightness)).clamp(0, 1)
        mean = _grey(lit).mean((1, 2, 3), keepdim=True)
        return (_wide(contrast) * lit + (1 - _wide(contrast)) * mean).clamp(0, 1)


@dataclass(frozen=True)
class Rotation(Transform):
    """Rotate about the middle by up to `degrees` either way, bilinearly; what comes in at the corners is 0.

    Raises:
        ValueError: degrees outside [0, 180].
    """

    degrees: float
    per: Per = "image"
    numbers: ClassVar[int] = 1

    def __post_init__(self) -> None:
        _check_per(self.per)
        if not 0 <= self.degrees <= 180:
            raise ValueError(f"degrees must lie in 0 … 180, got {self.degrees}")

    def __call__(self, images: Images, uniform: Uniform) -> Images:
        if self.degrees == 0:  # interpolation would round
            return images
        height, width = images.shape[-2:]
        angle = (2 * uniform[:, 0].to(images.dtype) - 1) * math.radians(self.degrees)
        cosine, sine, none = angle.cos(), angle.sin(), torch.zeros_like(angle)
        # Positions count from −1 to 1 along either side, whatever its length.
        rows = [cosine, -sine * height / width, none, sine * width / height, cosine, none]
        grid = F.affine_grid(torch.stack(rows, 1).reshape(-1, 2, 3), list(images.shape), align_corners=False)
        return F.grid_sample(images, grid, align_corners=False)


def _check_per(per: str) -> None:
    if per not in ("image", "class"):
        raise ValueError(f"per must be 'image' or 'class', got {per!r}")


def _taken(
    images: Float[Tensor, "n channel rows columns"], places: Int[Tensor, "n pixel"], height: int, width: int
) -> Images:
    """Images made of the pixels at `places` of others, counted row by row (one gather is three times as fast as an
    index for each axis)."""
    index = places[:, None].expand(-1, images.shape[1], -1)
    return images.flatten(2).gather(-1, index).unflatten(-1, (height, width))


def _wide(values: Tensor) -> Tensor:
    """`[n]` as `[n, 1, 1, 1]`."""
    return values[:, None, None, None]


def _grey(images: Images) -> Float[Tensor, "n 1 height width"]:
    """Brightness as eyes weigh red, green and blue (ITU-R BT.601); or the mean of other channels."""
    if images.shape[1] != 3:
        return images.mean(1, keepdim=True)
    weights = images.new_tensor([0.299, 0.587, 0.114])
    return (images * weights[:, None, None]).sum(1, keepdim=True)
