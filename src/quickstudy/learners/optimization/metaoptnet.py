"""MetaOptNet: a multi-class support vector machine is the inner loop, and the embedding learns through its optimum.

    w = argmin over w, ξ of  ½ Σ_k ‖w_k‖² + C Σ_n ξ_n   subject to  (w_y(n) − w_k)·f(x_n) ≥ 1 − ξ_n,  ξ_n ≥ 0
    p(y = k given x) = softmax over k of γ w_k·f(x)

Lee, Maji, Ravichandran & Soatto, "Meta-Learning with Differentiable Convex Optimization", CVPR 2019.
"""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from quickstudy.arguments import check_real
from quickstudy.learners.learner import Learner
from quickstudy.learners.optimization.crammer_singer import crammer_singer
from quickstudy.learners.phi import Phi
from quickstudy.networks import MLP, Policy, as_network
from quickstudy.rebuild import register
from quickstudy.tasks.batch import Examples, Tree
from quickstudy.tasks.likelihood import Categorical, Reduction, precise
from quickstudy.tasks.source import Kind

__all__ = ["MetaOptNet"]


@register
class MetaOptNet(Learner):
    """The machine of Crammer & Singer on a learned embedding; any number of classes. (The paper's SVM variant.)

    It has no bias: classes are told apart by directions. It is solved in float64, to its optimum, and differentiated by
    the implicit function theorem, once: there are no second derivatives.

    φ holds `weight` `[task, way, width]`, w. Without examples it is 0; a class that exists but has no example is one
    that every example is told apart from.

    Args:
        network: the embedding.
        inverse_penalty: C; the larger, the closer the machine follows the support.
        scale: γ to begin with; it is learned with the embedding.
        reduction: mean or sum over query examples.

    Raises:
        ValueError: an inverse penalty or a scale that is not positive and finite.
    """

    kinds = frozenset({"classification"})
    embeds = True

    def __init__(
        self, network: nn.Module, inverse_penalty: float = 0.1, scale: float = 1.0, reduction: Reduction = "mean"
    ) -> None:
        super().__init__(Categorical(), reduction)
        check_real(inverse_penalty=inverse_penalty, scale=scale)
        if not (inverse_penalty > 0 and scale > 0):
            raise ValueError(f"inverse_penalty and scale must be positive, got {inverse_penalty} and {scale}")
        self.network = as_network(network)
        self.inverse_penalty, self.scale = inverse_penalty, scale
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))

    @classmethod
    def example(cls, kind: Kind, normalization: Policy) -> "MetaOptNet":
        return cls(MLP(6, (16, 16), normalization))

    def _adapt(self, support: Examples, classes: Bool[Tensor, "task way"] | None) -> Phi:
        assert classes is not None  # Categorical always resolves them
        features, statistics = self.network(support.x, support.mask)
        with torch.autocast(features.device.type, enabled=False):
            features = torch.where(support.mask[..., None], precise(features), 0.0)
            alpha = crammer_singer(features, support.y, support.mask, classes, self.inverse_penalty)
            if self._may_look:
                self._check_found(alpha)
            weight = (alpha.mT @ features.double()).to(features.dtype)
        return {"weight": weight, "statistics": statistics}

    def _check_found(self, alpha: Float[Tensor, "task n way"]) -> None:
        """Refuse tasks that have no solution in numbers.

        Raises:
            ValueError: naming the first of them.
        """
        lost = ~torch.isfinite(alpha.detach()).flatten(1).all(1)
        if lost.any():
            raise ValueError(
                f"no optimum was found for the features of x in task {int(lost.nonzero()[0])}: they are too large, or "
                f"not finite, for inverse_penalty={self.inverse_penalty}; scale the data, or normalise the features"
            )

    def _outputs(self, phi: Phi, x: Tree, mask: Bool[Tensor, "task n"]) -> Float[Tensor, "task n way"]:
        features, _ = self.network(x, mask, phi["statistics"])
        with torch.autocast(features.device.type, enabled=False):
            return self.log_scale.exp() * (precise(features) @ phi["weight"].mT)
