"""Ridge regression in closed form, for many tasks at once: on frozen features, or on features that learn through it.

    W, b = argmin ‖X W + b − Y‖² + λ ‖W‖²

Hoerl & Kennard, "Ridge Regression: Biased Estimation for Nonorthogonal Problems", Technometrics 1970.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

__all__ = ["ridge"]


def ridge(
    x: Float[Tensor, "task n width"],
    y: Float[Tensor, "task n outputs"],
    mask: Bool[Tensor, "task n"],
    penalty: float | Float[Tensor, ""],
) -> tuple[Float[Tensor, "task width outputs"], Float[Tensor, "task outputs"]]:
    """Weights and the (unpenalised) bias of every task; the bias is the mean of y, 0 without examples.

    Solved in the smaller of the two spaces, that of examples or that of features. Differentiable, also with respect to
    the penalty. Where numbers grew so large that a system is singular, its task has results that are not finite.
    """
    count = mask.sum(1).clamp(min=1)[:, None].to(x.dtype)
    real = mask[..., None]
    mean_x, mean_y = (torch.where(real, v, 0.0).sum(1) / count for v in (x, y))
    x, y = (torch.where(real, v - mean[:, None], 0.0) for v, mean in ((x, mean_x), (y, mean_y)))
    n, width = x.shape[1:]
    if n <= width:
        weight = x.mT @ _solution(x @ x.mT + penalty * torch.eye(n).to(x), y)
    else:
        weight = _solution(x.mT @ x + penalty * torch.eye(width).to(x), x.mT @ y)
    return weight, mean_y - (mean_x[:, None] @ weight)[:, 0]


def _solution(left: Float[Tensor, "task m m"], right: Float[Tensor, "task m k"]) -> Float[Tensor, "task m k"]:
    # Without torch's check, whose error would name an element of a batch of matrices, and not what was asked.
    return torch.linalg.solve_ex(left, right).result
