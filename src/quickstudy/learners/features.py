"""Features as a head in closed form needs them."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from quickstudy.tasks.likelihood import precise

__all__ = ["squarable"]


def squarable(
    features: Float[Tensor, "task n width"], mask: Bool[Tensor, "task n"], look: bool
) -> Float[Tensor, "task n width"]:
    """The features in float32 or better, zero where padded.

    Args:
        features: as a network gives them, in half precision perhaps.
        mask: which examples are real.
        look: refuse those whose squares are not finite, where values can be looked at.

    Raises:
        ValueError: naming the first task that has such features.
    """
    features = torch.where(mask[..., None], precise(features), 0.0)
    if look and not torch.isfinite(features.detach().square().sum()):
        task = int((~torch.isfinite(features.detach().square().flatten(1).sum(1))).nonzero()[0])
        raise ValueError(f"the features of x are not finite in task {task}, or too large to be squared; scale the data")
    return features
