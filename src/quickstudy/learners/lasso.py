"""Lasso: linear regression in which most weights are exactly zero.

    min over w, b of  (1 / 2 n) ‖y − X w − b‖² + λ ‖w‖₁

Tibshirani, "Regression Shrinkage and Selection via the Lasso", Journal of the Royal Statistical Society B 1996; the
solver is scikit-learn's.
"""

import torch
from jaxtyping import Bool, Float
from sklearn import linear_model
from torch import Tensor

from quickstudy.arguments import check_flag, check_real
from quickstudy.learners.learner import Learner
from quickstudy.learners.phi import Phi
from quickstudy.networks import Policy
from quickstudy.rebuild import register
from quickstudy.tasks.batch import Examples, Tree
from quickstudy.tasks.likelihood import Gaussian
from quickstudy.tasks.source import Kind

__all__ = ["Lasso", "flat"]


@register
class Lasso(Learner):
    """What one would try first on linear tasks with few coordinates that count; nothing is learned across tasks.

    A loop over tasks: coordinate descent ends after another number of rounds in each, and scikit-learn's is compiled.

    φ holds `weight` `[task, width]` and `bias` `[task]`, zeros for a task without examples.

    Args:
        penalty: λ.
        intercept: whether there is a bias.

    Raises:
        ValueError: a penalty that is not positive.
    """

    kinds = frozenset({"regression"})
    trainable = False
    optimizes = True
    self_contained = True

    def __init__(self, penalty: float = 0.01, intercept: bool = True) -> None:
        super().__init__(Gaussian())
        check_real(penalty=penalty)
        check_flag(intercept=intercept)
        if not penalty > 0:
            raise ValueError(f"penalty must be positive, got {penalty}; without one, use LinearOracle or ridge")
        self.penalty, self.intercept = penalty, intercept

    @classmethod
    def example(cls, kind: Kind, normalization: Policy) -> "Lasso":
        return cls(penalty=0.1)

    def _adapt(self, support: Examples, classes: Bool[Tensor, "task way"] | None) -> Phi:
        weight, bias = _lines(flat(support.x), support, self.penalty, self.intercept)
        return {"weight": weight, "bias": bias}

    def _outputs(self, phi: Phi, x: Tree, mask: Bool[Tensor, "task n"]) -> Float[Tensor, "task n 1"]:
        inputs = flat(x)
        if inputs.shape[2] != phi["weight"].shape[1]:
            raise ValueError(f"x has {inputs.shape[2]} numbers per example, and phi is of {phi['weight'].shape[1]}")
        return (inputs @ phi["weight"].to(inputs)[..., None]) + phi["bias"].to(inputs)[:, None, None]


def flat(x: Tree) -> Float[Tensor, "task n width"]:
    """Inputs as vectors.

    Raises:
        TypeError: they are something else than one tensor of real numbers.
        ValueError: there is no number in them.
    """
    if not isinstance(x, Tensor) or x.is_complex():
        found = x.dtype if isinstance(x, Tensor) else type(x).__name__
        raise TypeError(f"x must be one tensor of real numbers for regression on raw inputs, got {found}")
    vectors = x.flatten(2) if x.ndim > 2 else x[..., None]
    if not vectors.shape[2]:
        raise ValueError(f"x must hold numbers, got the shape {tuple(x.shape)}")
    return vectors if vectors.is_floating_point() else vectors.to(torch.get_default_dtype())


@torch.compiler.disable  # it would trace into scikit-learn
def _lines(
    x: Float[Tensor, "task n width"], support: Examples, penalty: float, intercept: bool
) -> tuple[Float[Tensor, "task width"], Float[Tensor, " task"]]:
    """Weights and bias of every task."""
    tasks, _, width = x.shape
    weight, bias = x.new_zeros(tasks, width), x.new_zeros(tasks)
    for task in range(tasks):
        real = support.mask[task]
        if not real.any():
            continue
        line = linear_model.Lasso(alpha=penalty, fit_intercept=intercept, max_iter=10_000)
        line.fit(x[task, real].cpu().double().numpy(), support.y[task, real].cpu().double().numpy())
        weight[task], bias[task] = torch.from_numpy(line.coef_).to(weight), float(line.intercept_)
    return weight, bias
