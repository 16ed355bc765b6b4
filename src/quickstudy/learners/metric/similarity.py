"""How near embedded examples are to one another and to classes, precise under autocast and twice differentiable."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from quickstudy.tasks.batch import Examples
from quickstudy.tasks.likelihood import precise

__all__ = ["class_means", "cosine", "nearness", "squared_distance"]


def class_means(
    features: Float[Tensor, "task n width"], support: Examples, ways: int
) -> tuple[Float[Tensor, "task way width"], Bool[Tensor, "task way"]]:
    """The mean of every class's examples, and which classes have any; the others get the mean of those means."""
    members = F.one_hot(support.y, ways) * support.mask[..., None]
    with torch.autocast(features.device.type, enabled=False):
        features = precise(features)
        sums = torch.einsum("tnw,tnd->twd", members.to(features.dtype), features)
        counts = members.sum(1)[..., None]
        means = sums / counts.clamp(min=1)
        seen = (counts > 0).to(features.dtype)
        others = (means * seen).sum(1, keepdim=True) / seen.sum(1, keepdim=True).clamp(min=1)
        return torch.where(counts > 0, means, others), counts[..., 0] > 0


def nearness(x: Float[Tensor, "task n width"], points: Float[Tensor, "task m width"]) -> Float[Tensor, "task n m"]:
    """−‖x − p‖² + ‖x‖²: in every row the order, and the softmax, of the negative squared distances.

    By expansion, 2 x·p − ‖p‖², since `cdist` has no second derivative.
    """
    with torch.autocast(x.device.type, enabled=False):
        x, points = precise(x), precise(points)
        return 2 * x @ points.mT - points.square().sum(-1)[:, None]


def squared_distance(
    x: Float[Tensor, "task n width"], points: Float[Tensor, "task m width"]
) -> Float[Tensor, "task n m"]:
    """‖x − p‖², never below zero."""
    return (precise(x).square().sum(-1, keepdim=True) - nearness(x, points)).clamp(min=0)


def cosine(x: Float[Tensor, "task n width"], points: Float[Tensor, "task m width"]) -> Float[Tensor, "task n m"]:
    """x·p / (‖x‖ ‖p‖); 0 where either is 0."""
    with torch.autocast(x.device.type, enabled=False):
        return F.normalize(precise(x), dim=-1) @ F.normalize(precise(points), dim=-1).mT
