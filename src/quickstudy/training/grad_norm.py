"""GradNorm: weights that bring the gradients of tasks to norms in keeping with how fast each one learns.

Chen, Badrinarayanan, Lee & Rabinovich, "GradNorm: Gradient Normalization for Adaptive Loss Balancing in Deep Multitask
Networks", ICML 2018. TorchJD has no method that compares losses and norms.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from quickstudy.arguments import check_real
from quickstudy.training.balancing import LossWeighting

__all__ = ["GradNorm"]


class GradNorm(LossWeighting):
    """Weights move down the gradient of Σ_i |w_i n_i − mean_j(w_j n_j) r_i^α|, the second term held fixed.

    n_i is the norm of the gradient of L_i, r_i = (L_i / L_i(0)) / mean_j(L_j / L_j(0)) how slowly task i learns. After
    every step the weights are scaled so that their sum is the number of tasks.

    Args:
        alpha: how much slow tasks are pulled up; 0 makes all norms equal. The paper uses 0.12 to 1.5.
        rate: of the weights' descent.

    Raises:
        ValueError: a rate that is not positive; and when called, a first loss that is not.
    """

    value: Tensor | None
    first: Tensor | None

    def __init__(self, alpha: float = 1.5, rate: float = 0.025) -> None:
        super().__init__()
        check_real(alpha=alpha, rate=rate)
        if not rate > 0:
            raise ValueError(f"rate must be positive, got {rate}")
        self.alpha, self.rate = alpha, rate
        self.register_buffer("value", None)
        self.register_buffer("first", None)

    def forward(self, losses: Float[Tensor, " task"], norms: Float[Tensor, " task"]) -> Float[Tensor, " task"]:
        if self.first is None or self.value is None:
            if not (losses > 0).all():
                raise ValueError(
                    f"GradNorm compares losses with those of its first step, which must be positive, got "
                    f"{losses.tolist()}; give Gaussian a variance of 0.5 or more"
                )
            self.first, self.value = losses.clone(), torch.ones_like(losses)
        weights, norms = self.value, norms.to(losses.dtype)
        progress = losses / self.first
        slowness = (progress / progress.mean()).clamp(min=0)
        scaled = weights * norms
        error = scaled - scaled.mean() * slowness**self.alpha
        moved = (weights - self.rate * norms * error.sign()).clamp(min=1e-3)  # a weight of zero would stay there
        self.value = moved * len(moved) / moved.sum()
        return weights
