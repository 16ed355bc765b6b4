"""The weights of CAGrad, many times faster than TorchJD's general solver of cone programs gives them.

The gradient is g_0 + c ‖g_0‖ g_w / ‖g_w‖, where g_0 is the mean of the tasks' gradients, g_w = Σ_i w_i g_i, and w on
the simplex minimises ⟨g_0, g_w⟩ + c ‖g_0‖ ‖g_w‖. Since ‖g_w‖ = min_t (‖g_w‖² / t + t) / 2, that is a quadratic program
in w for every t > 0, and the best t is where t = ‖g_w‖: one root of one function of one number.

Liu, Liu, Jin, Stone & Liu, "Conflict-Averse Gradient Descent for Multi-task Learning", NeurIPS 2021.
"""

import numpy as np
import torch
from jaxtyping import Float
from scipy.optimize import brentq
from torch import Tensor
from torchjd.aggregation import CAGradWeighting

try:
    import quadprog
except ImportError:  # it comes with the extra `balancing`; of TorchJD's extras, that of UPGrad has it
    quadprog = None

__all__ = ["conflict_averse"]

# Below this share of the gradients' lengths, a length is as likely rounding.
_SHORT = 1e-5


def conflict_averse(weighting: CAGradWeighting, gramian: Float[Tensor, "task task"]) -> Float[Tensor, " task"]:
    """How much the gradient of each task counts.

    Where rounding would decide, TorchJD is asked: gradients of which some weights make nothing, c ≥ 1, and a `norm_eps`
    that is very small.

    Args:
        weighting: of `torchjd.aggregation.CAGrad`.
        gramian: inner products of the tasks' gradients.
    """
    inner = gramian.detach().cpu().double().numpy()
    count, trace = len(inner), inner.trace()
    if not 0 < weighting.c < 1 or trace < weighting.norm_eps or weighting.norm_eps < _SHORT or quadprog is None:
        return weighting(gramian)
    inner = inner / trace
    to_mean = inner.mean(1)
    radius = weighting.c * np.sqrt(max(to_mean.mean(), 0.0))
    # What makes the Gramian positive definite in spite of rounding.
    regular = inner + max(1e-9, torch.finfo(gramian.dtype).eps) * np.eye(count)
    try:
        found = _least(inner, regular, to_mean, radius, weighting.norm_eps / 2)
    except ValueError:  # not positive definite, or no root: there is no g_w that is worth the name
        return weighting(gramian)
    return torch.from_numpy(1 / count + radius / _norm(inner, found) * found).to(gramian)


def _least(inner: np.ndarray, regular: np.ndarray, to_mean: np.ndarray, radius: float, least: float) -> np.ndarray:
    """The w on the simplex with the least ⟨g_0, g_w⟩ + r ‖g_w‖.

    Raises:
        ValueError: the Gramian is not positive definite, or ‖g_w‖ is less than `least`.
    """
    count = len(inner)
    constraints, bounds = np.column_stack([np.ones(count), np.eye(count)]), np.eye(1, count + 1)[0]

    def at(t: float) -> np.ndarray:
        return np.asarray(quadprog.solve_qp(regular, -t / radius * to_mean, constraints, bounds, 1)[0])

    if radius < _SHORT:
        raise ValueError("the mean of the gradients is zero")
    # No mean of vectors is longer than the longest.
    longest = np.sqrt(inner.diagonal().max()) * (1 + 1e-9)
    return at(brentq(lambda t: t - _norm(inner, at(t)), least, longest, xtol=1e-9, rtol=1e-9))


def _norm(inner: np.ndarray, weights: np.ndarray) -> float:
    return float(np.sqrt(max(weights @ inner @ weights, 0.0)))
