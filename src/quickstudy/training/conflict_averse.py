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

# Of the Gramian's trace: what makes it positive definite in spite of rounding, and the least t.
_SMALL = 1e-9


def conflict_averse(weighting: CAGradWeighting, gramian: Float[Tensor, "task task"]) -> Float[Tensor, " task"]:
    """How much the gradient of each task counts.

    Gradients that depend on one another, where many weights are as good, are left to TorchJD; so are c = 0 and c ≥ 1.

    Args:
        weighting: of `torchjd.aggregation.CAGrad`.
        gramian: inner products of the tasks' gradients.
    """
    inner = gramian.detach().cpu().double().numpy()
    count, trace = len(inner), inner.trace()
    if quadprog is None or weighting.c >= 1 or trace < weighting.norm_eps:
        return weighting(gramian)
    inner = inner / trace
    to_mean = inner.mean(1)
    radius = weighting.c * np.sqrt(max(to_mean.mean(), 0.0))
    if radius < _SMALL:
        return weighting(gramian)
    try:
        found = _least(inner, to_mean, radius)
    except ValueError:  # not positive definite
        return weighting(gramian)
    norm = _norm(inner, found)
    if norm < weighting.norm_eps:  # no direction is good for all
        return torch.zeros_like(gramian[0])
    return torch.from_numpy(1 / count + radius / norm * found).to(gramian)


def _least(inner: np.ndarray, to_mean: np.ndarray, radius: float) -> np.ndarray:
    """The w on the simplex with the least ⟨g_0, g_w⟩ + r ‖g_w‖."""
    count = len(inner)
    regular = inner + _SMALL * np.eye(count)
    constraints, bounds = np.column_stack([np.ones(count), np.eye(count)]), np.eye(1, count + 1)[0]

    def at(t: float) -> np.ndarray:
        return np.asarray(quadprog.solve_qp(regular, -t / radius * to_mean, constraints, bounds, 1)[0])

    def excess(t: float) -> float:
        return t - _norm(inner, at(t))

    if excess(_SMALL) >= 0:
        return at(_SMALL)
    # No mean of vectors is longer than the longest.
    longest = np.sqrt(inner.diagonal().max())
    return at(brentq(excess, _SMALL, longest + _SMALL, xtol=_SMALL, rtol=_SMALL))


def _norm(inner: np.ndarray, weights: np.ndarray) -> float:
    return float(np.sqrt(max(weights @ inner @ weights, 0.0)))
