"""Image backbones of the `timm` library, pre-trained or not, as networks that stay as they are.

Wightman, "PyTorch Image Models", https://github.com/huggingface/pytorch-image-models.
"""

import importlib
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from quickstudy.networks.frozen import Frozen
from quickstudy.rebuild import register

__all__ = ["TimmBackbone", "timm_backbone"]


def timm_backbone(name: str, *, pretrained: bool = False, channels: int = 3) -> Frozen:
    """A backbone of `timm` as a frozen network: `frozen_features(pool, timm_backbone("resnet18", pretrained=True))`.

    Args:
        name: of the model in `timm`, such as `resnet18`.
        pretrained: with the weights that `timm` downloads; random ones otherwise.
        channels: of the images.

    Raises:
        ImportError: `timm` is not installed, or cannot be imported.
    """
    return Frozen(TimmBackbone(name, pretrained, channels))


@register
class TimmBackbone(nn.Module):
    """Images in [0, 1] `[example, channel, height, width]` to the pooled features of a `timm` model.

    The images are standardised by the means and deviations that the model was trained with, where it names some.

    Args:
        name, pretrained, channels: as in `timm_backbone`. A saved backbone is rebuilt without downloading again: its
            weights come from the file.

    Raises:
        ImportError: `timm` is not installed, or cannot be imported.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, name: str, pretrained: bool = False, channels: int = 3) -> None:
        super().__init__()
        model = _timm().create_model(name, pretrained=pretrained, num_classes=0, in_chans=channels)
        self.name, self.pretrained, self.channels = name, False, channels
        self.model, self.width = model, int(getattr(model, "head_hidden_size", None) or model.num_features)
        trained_with = getattr(model, "pretrained_cfg", None) or {}
        self.register_buffer("mean", _per_channel(trained_with.get("mean", (0.0,)), channels), persistent=False)
        self.register_buffer("deviation", _per_channel(trained_with.get("std", (1.0,)), channels), persistent=False)

    def forward(self, x: Float[Tensor, "example channel height width"]) -> Float[Tensor, "example features"]:
        return self.model((x - self.mean) / self.deviation)


def _per_channel(values: Sequence[float], channels: int) -> Float[Tensor, "channel 1 1"]:
    """One number per channel; their mean where the images have other channels than the model was trained with."""
    row = torch.tensor(tuple(values), dtype=torch.float32)
    return (row if len(row) == channels else row.mean().expand(channels).clone())[:, None, None]


def _timm() -> Any:
    try:
        return importlib.import_module("timm")
    except ImportError as error:
        raise ImportError(
            f"timm_backbone needs the library timm, which cannot be imported ({error}); install it with "
            "pip install 'quickstudy[timm]' (it brings torchvision, which must fit your torch)"
        ) from error
