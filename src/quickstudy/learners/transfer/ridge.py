"""Ridge regression on frozen features: the head in closed form.

    W = argmin ‖X W + b − Y‖² + λ ‖W‖²,   Y the targets, or the classes as one-hot vectors

Hoerl & Kennard, "Ridge Regression: Biased Estimation for Nonorthogonal Problems", Technometrics 1970.
"""

import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from quickstudy.arguments import check_real
from quickstudy.learners.ridge import ridge
from quickstudy.learners.transfer.pretrained import FrozenFeatures
from quickstudy.networks import MLP, Policy
from quickstudy.rebuild import register
from quickstudy.tasks.batch import Examples
from quickstudy.tasks.likelihood import Categorical, Gaussian, Likelihood, Reduction, likelihood_for
from quickstudy.tasks.source import Kind

__all__ = ["RidgeRegression"]


@register
class RidgeRegression(FrozenFeatures):
    """A linear head by least squares with a penalty, for classes (one against the others) and for real targets.

    φ holds `weight` `[task, width, outputs]` and `bias` `[task, outputs]`.

    Args:
        network: the feature extractor.
        pretraining: `Categorical(n)` for n training classes, or `Gaussian` with a given variance.
        penalty: λ, in squared units of the features.
        scale: what the fit to one-hot classes is multiplied by to be log odds; it changes how sure, not which class.
        normalize, centre, reduction: see `FrozenFeatures`.

    Raises:
        ValueError: a penalty or scale that is not positive and finite, or a likelihood that predicts its variance.
    """

    kinds = frozenset({"classification", "regression"})

    def __init__(
        self,
        network: nn.Module,
        pretraining: Likelihood,
        penalty: float = 1.0,
        scale: float = 10.0,
        normalize: bool = False,
        centre: bool = False,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(network, pretraining, normalize, centre, reduction)
        check_real(penalty=penalty, scale=scale)
        if not (penalty > 0 and scale > 0):
            raise ValueError(f"penalty and scale must be positive, got {penalty} and {scale}")
        if isinstance(pretraining, Gaussian) and pretraining.variance is None:
            raise ValueError("ridge regression gives a mean, not a variance: use Gaussian(variance=…) with a number")
        self.penalty, self.scale = penalty, scale

    @classmethod
    def example(cls, kind: Kind, normalization: Policy) -> "RidgeRegression":
        return cls(MLP(6, (16, 16), normalization), likelihood_for(kind, 4))

    def _fit_head(
        self,
        features: Float[Tensor, "task n width"],
        support: Examples,
        classes: Bool[Tensor, "task way"] | None,
    ) -> dict[str, Tensor]:
        y = support.y if classes is None else F.one_hot(support.y, classes.shape[1])
        y = (y if y.ndim == 3 else y[..., None]).to(features.dtype)
        weight, bias = ridge(features, y, support.mask, self.penalty)
        return {"weight": weight, "bias": bias}

    def _apply_head(self, head: dict[str, Tensor], features: Float[Tensor, "task n width"]) -> Tensor:
        fit = features @ head["weight"] + head["bias"][:, None]
        return self.scale * fit if isinstance(self.pretraining, Categorical) else fit
