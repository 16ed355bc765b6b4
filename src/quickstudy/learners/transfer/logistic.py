"""Logistic regression on frozen features, solved to the optimum for all tasks at once.

    min over W, b of  C Σ_i −log softmax(W x_i + b)[y_i] + ½ ‖W‖²

The optimum that scikit-learn's `LogisticRegression` has; as a few-shot method: Tian et al., "Rethinking Few-Shot Image
Classification: a Good Embedding Is All You Need?", ECCV 2020.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from quickstudy.arguments import check_real, check_whole
from quickstudy.learners.transfer.pretrained import FrozenFeatures
from quickstudy.networks import MLP, Policy
from quickstudy.rebuild import register
from quickstudy.tasks.batch import Examples
from quickstudy.tasks.likelihood import Categorical, Likelihood, Reduction
from quickstudy.tasks.source import Kind

__all__ = ["LogisticRegression", "logistic_regression"]


def logistic_regression(
    x: Float[Tensor, "task n width"],
    y: Float[Tensor, "task n way"],
    mask: Bool[Tensor, "task n"],
    classes: Bool[Tensor, "task way"],
    inverse_penalty: float,
    iterations: int,
) -> tuple[Float[Tensor, "task width way"], Float[Tensor, "task way"]]:
    """Weights and the (unpenalised) bias of every task.

    Newton steps with a curvature that bounds the true one everywhere (Böhning, "Multinomial logistic regression
    algorithm", 1992): C/2 X'X + I, the same for all classes and all steps, so it is factorised once and no step needs
    a line search. Accelerated by Nesterov's momentum, restarted in a task whenever it points uphill (O'Donoghue &
    Candès, 2015).

    Args:
        x: features.
        y: one-hot classes.
        mask: which examples are real.
        classes: which classes exist.
        inverse_penalty: C.
        iterations: steps; with features of length one and C near 1, some fifty reach single precision.
    """
    real = mask[..., None]
    x, y = torch.where(real, x, 0.0), torch.where(real, y, 0.0)
    n, width = x.shape[1:]
    basis = None
    if 0 < n < width:
        # The optimum lies in the span of the examples, and lengths do not change with the coordinates.
        basis, triangle = torch.linalg.qr(x.mT)
        x = triangle.mT
    x = torch.cat([x, real.to(x.dtype)], -1)
    penalty = torch.ones(x.shape[-1]).to(x)
    penalty[-1] = 0.0
    # The bias bends little where examples are few: any bound of its curvature serves that is above the true one.
    curvature = inverse_penalty / 2 * x.mT @ x + torch.diag(penalty.clamp(min=1e-3))
    factor = torch.linalg.cholesky(curvature)
    weight = x.new_zeros(x.shape[0], x.shape[-1], y.shape[-1])
    ahead, momentum = weight, x.new_ones(x.shape[0], 1, 1)
    for _ in range(iterations):
        odds = (x @ ahead).masked_fill(~classes[:, None], -math.inf)
        slope = inverse_penalty * x.mT @ torch.where(real, odds.softmax(-1) - y, 0.0) + penalty[:, None] * ahead
        new = ahead - torch.cholesky_solve(slope, factor)
        uphill = (slope * (new - weight)).sum((1, 2), keepdim=True) > 0
        momentum = torch.where(uphill, 1.0, momentum)
        grown = (1 + (1 + 4 * momentum.square()).sqrt()) / 2
        ahead = new + torch.where(uphill, 0.0, (momentum - 1) / grown) * (new - weight)
        weight, momentum = new, grown
    slopes, bias = weight[:, :-1], weight[:, -1]
    return (slopes if basis is None else basis @ slopes), bias


@register
class LogisticRegression(FrozenFeatures):
    """A linear head by penalised maximum likelihood, on features of length one unless told otherwise.

    φ holds `weight` `[task, width, way]` and `bias` `[task, way]`.

    Args:
        network: the feature extractor.
        pretraining: `Categorical(n)` for n training classes.
        inverse_penalty: C; the larger, the closer it follows the support.
        iterations: of the solver.
        normalize, centre, reduction: see `FrozenFeatures`.

    Raises:
        ValueError: an inverse penalty that is not positive and finite, or no iteration.
    """

    def __init__(
        self,
        network: nn.Module,
        pretraining: Likelihood,
        inverse_penalty: float = 1.0,
        iterations: int = 100,
        normalize: bool = True,
        centre: bool = False,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(network, pretraining, normalize, centre, reduction)
        check_real(inverse_penalty=inverse_penalty)
        check_whole(iterations=iterations)
        if not inverse_penalty > 0 or iterations < 1:
            raise ValueError(
                f"inverse_penalty must be positive and iterations at least 1, got {inverse_penalty} and {iterations}"
            )
        self.inverse_penalty, self.iterations = inverse_penalty, iterations

    @classmethod
    def example(cls, kind: Kind, normalization: Policy) -> "LogisticRegression":
        return cls(MLP(6, (16, 16), normalization), Categorical(4), inverse_penalty=10.0)

    def _fit_head(
        self,
        features: Float[Tensor, "task n width"],
        support: Examples,
        classes: Bool[Tensor, "task way"] | None,
    ) -> dict[str, Tensor]:
        assert classes is not None  # Categorical always resolves them
        y = F.one_hot(support.y, classes.shape[1]).to(features.dtype)
        weight, bias = logistic_regression(features, y, support.mask, classes, self.inverse_penalty, self.iterations)
        return {"weight": weight, "bias": bias}

    def _apply_head(self, head: dict[str, Tensor], features: Float[Tensor, "task n width"]) -> Tensor:
        return features @ head["weight"] + head["bias"][:, None]
