"""How near embedded examples are to one another, precise under autocast and twice differentiable."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from quickstudy.tasks.likelihood import precise

__all__ = ["cosine", "nearness", "squared_distance"]


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
