"""R2-D2: ridge regression is the inner loop, solved at once, and the embedding learns through its solution.

    W = Xᵀ (X Xᵀ + λ I)⁻¹ Y,   X the embedded support;   ŷ(x) = α (W·f(x) + b) + β

λ, α and β are learned with the embedding f.

Bertinetto, Henriques, Torr & Vedaldi, "Meta-learning with differentiable closed-form solvers", ICLR 2019.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from quickstudy.arguments import check_real
from quickstudy.learners.features import squarable
from quickstudy.learners.learner import Learner
from quickstudy.learners.phi import Phi
from quickstudy.learners.ridge import ridge
from quickstudy.networks import MLP, Policy, as_network
from quickstudy.rebuild import register
from quickstudy.tasks.batch import Examples, Tree
from quickstudy.tasks.likelihood import Gaussian, Likelihood, Reduction, likelihood_for, precise
from quickstudy.tasks.source import Kind

__all__ = ["R2D2"]


@register
class R2D2(Learner):
    """A ridge regression for every task, on an embedding that was learned for it; any number of classes.

    Classes are fitted as one-hot vectors, yes and no as 1 and −1, real targets as they are; only for these the output
    is the fit itself. The calibration α (and β for yes and no) turns a fit into log odds. With several classes β, which
    all of them would get, cancels in the softmax: there is none.

    Differs from the paper in the bias b: it is fitted, without a penalty, by centring X and Y, where the paper appends
    a one to the features, and so penalises it. That way classes which are not equally frequent, and targets far from
    zero, are not drawn to zero.

    φ holds `weight` `[task, width, outputs]` and `bias` `[task, outputs]`. Without examples both are 0; a class that
    exists but has no example is fitted as what no example is.

    Args:
        network: the embedding.
        likelihood: what is predicted; of real targets, with a given variance.
        penalty: λ to begin with, in squared units of the embedding.
        scale: α to begin with; without a use for real targets.
        reduction: mean or sum over query examples.

    Raises:
        ValueError: a penalty or scale that is not positive and finite, or a likelihood that predicts its variance.
    """

    embeds = True

    def __init__(
        self,
        network: nn.Module,
        likelihood: Likelihood,
        penalty: float = 1.0,
        scale: float = 4.0,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(likelihood, reduction)
        check_real(penalty=penalty, scale=scale)
        if not (penalty > 0 and scale > 0):
            raise ValueError(f"penalty and scale must be positive, got {penalty} and {scale}")
        if isinstance(likelihood, Gaussian) and likelihood.variance is None:
            raise ValueError(
                "likelihood: ridge regression gives a mean, not a variance; use Gaussian(variance=…) with a number"
            )
        self.network = as_network(network)
        self.penalty, self.scale = penalty, scale
        self.log_penalty = nn.Parameter(torch.tensor(math.log(penalty)))
        if likelihood.kind != "regression":
            self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))
        if likelihood.kind == "binary":
            self.shift = nn.Parameter(torch.zeros(()))

    @classmethod
    def example(cls, kind: Kind, normalization: Policy) -> "R2D2":
        return cls(MLP(6, (16, 16), normalization), likelihood_for(kind))

    def _adapt(self, support: Examples, classes: Bool[Tensor, "task way"] | None) -> Phi:
        features, statistics = self.network(support.x, support.mask)
        with torch.autocast(features.device.type, enabled=False):
            features = squarable(features, support.mask, self._may_look)
            y = self._targets(support, classes).to(features.dtype)
            weight, bias = ridge(features, y, support.mask, self.log_penalty.exp())
        return {"weight": weight, "bias": bias, "statistics": statistics}

    def _targets(
        self, support: Examples, classes: Bool[Tensor, "task way"] | None
    ) -> Float[Tensor, "task n outputs"] | Tensor:
        """What is fitted; for padding anything."""
        if classes is not None:
            return F.one_hot(support.y, classes.shape[1])
        y = 2 * support.y - 1 if self.likelihood.kind == "binary" else support.y
        return y if y.ndim == 3 else y[..., None]

    def _outputs(self, phi: Phi, x: Tree, mask: Bool[Tensor, "task n"]) -> Float[Tensor, "task n outputs"]:
        features, _ = self.network(x, mask, phi["statistics"])
        with torch.autocast(features.device.type, enabled=False):
            fit = precise(features) @ phi["weight"] + phi["bias"][:, None]
            if self.likelihood.kind == "regression":
                return fit
            odds = self.log_scale.exp() * fit
            return odds + self.shift if self.likelihood.kind == "binary" else odds
