"""Images as PNG data URIs, which an HTML page holds in itself."""

import base64
import io

import numpy as np
from jaxtyping import Float
from PIL import Image
from torch import Tensor

__all__ = ["as_data_uri"]

_MOST_PIXELS = 96


def as_data_uri(image: Float[Tensor, "channel height width"], limits: tuple[float, float] = (0.0, 1.0)) -> str:
    """An image as a PNG; large ones are made smaller.

    Args:
        image: one channel for grey, three for colours; of any other number, the mean is shown in grey.
        limits: the values of black and white.
    """
    low, high = limits
    pixels = (image.detach().cpu().double().numpy() - low) / ((high - low) or 1.0)
    if len(pixels) not in (1, 3):
        pixels = pixels.mean(0, keepdims=True)
    values = np.round(255 * np.clip(pixels, 0, 1)).astype(np.uint8)
    picture = Image.fromarray(values[0] if len(values) == 1 else np.moveaxis(values, 0, -1))
    picture.thumbnail((_MOST_PIXELS, _MOST_PIXELS))
    buffer = io.BytesIO()
    picture.save(buffer, format="png", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
