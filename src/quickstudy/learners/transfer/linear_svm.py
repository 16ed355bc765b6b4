"""A linear support vector machine on given features: with hand-made ones, what came before learned representations.

    min over w, b of  ½ (‖w‖² + b²) + C Σ_i max(0, 1 − t_i (w·x_i + b))²,   t = ±1, every class against the others

Cortes & Vapnik, "Support-Vector Networks", Machine Learning 1995; the solver is scikit-learn's (LIBLINEAR).
"""

import numpy as np
import torch
from jaxtyping import Bool, Float
from sklearn.svm import LinearSVC
from torch import Tensor, nn

from quickstudy.arguments import check_real
from quickstudy.learners.learner import Learner
from quickstudy.learners.phi import Phi
from quickstudy.networks import MLP, Policy, as_network
from quickstudy.rebuild import register
from quickstudy.tasks.batch import Examples, Tree
from quickstudy.tasks.likelihood import Categorical, precise
from quickstudy.tasks.source import Kind

__all__ = ["LinearSVM"]


@register
class LinearSVM(Learner):
    """Trained on the support alone, task by task; nothing is learned across tasks.

    A machine has no probabilities: those of the classes are a softmax over the margins. Classes without examples have
    the margin −1, which is what a machine says of what it has only seen as "other".

    φ holds `weight` `[task, way, width]` and `bias` `[task, way]`.

    Args:
        network: gives the features, `OrientedGradients()` for instance; None takes the inputs themselves, flattened.
        inverse_penalty: C; the larger, the closer it follows the support.

    Raises:
        ValueError: an inverse penalty that is not positive and finite.
    """

    kinds = frozenset({"classification"})
    trainable = False
    optimizes = True

    def __init__(self, network: nn.Module | None = None, inverse_penalty: float = 1.0) -> None:
        super().__init__(Categorical())
        check_real(inverse_penalty=inverse_penalty)
        if not inverse_penalty > 0:
            raise ValueError(f"inverse_penalty must be positive, got {inverse_penalty}")
        self.network = None if network is None else as_network(network)
        self.inverse_penalty = inverse_penalty

    @classmethod
    def example(cls, kind: Kind, normalization: Policy) -> "LinearSVM":
        return cls(MLP(6, (16, 16), normalization))

    @torch.no_grad()
    def _features(self, x: Tree, mask: Tensor, statistics: dict | None) -> tuple[Tensor, dict]:
        if self.network is not None:
            features, kept = self.network(x, mask, statistics)
            return precise(features), kept
        if not isinstance(x, Tensor):
            raise TypeError("without a network, x must be one tensor: there is no product with a tree")
        return (x.flatten(2) if x.ndim > 2 else x[..., None]), {}

    def _adapt(self, support: Examples, classes: Bool[Tensor, "task way"] | None) -> Phi:
        assert classes is not None  # Categorical always resolves them
        features, statistics = self._features(support.x, support.mask, None)
        weight, bias = _machines(features, support, classes.shape[1], self.inverse_penalty)
        return {"weight": weight, "bias": bias, "statistics": statistics}

    def _outputs(self, phi: Phi, x: Tree, mask: Bool[Tensor, "task n"]) -> Float[Tensor, "task n way"]:
        features, _ = self._features(x, mask, phi["statistics"])
        return features @ phi["weight"].mT + phi["bias"][:, None]


@torch.compiler.disable  # it would trace into scikit-learn
def _machines(
    features: Float[Tensor, "task n width"], support: Examples, ways: int, inverse_penalty: float
) -> tuple[Float[Tensor, "task way width"], Float[Tensor, "task way"]]:
    """Weights and bias of every task."""
    tasks, _, width = features.shape
    weight, bias = features.new_zeros(tasks, ways, width), features.new_full((tasks, ways), -1.0)
    for task in range(tasks):
        real = support.mask[task]
        x, y = features[task, real].cpu().double().numpy(), support.y[task, real].cpu().numpy()
        seen = np.unique(y)
        if len(seen) == 1:
            bias[task, int(seen[0])] = 1.0
        if len(seen) < 2:
            continue
        machine = LinearSVC(C=inverse_penalty, dual=False, tol=1e-10, max_iter=10_000).fit(x, y)
        slopes, offsets = machine.coef_, machine.intercept_
        if len(seen) == 2:  # one machine tells two classes apart
            slopes, offsets = np.stack([-slopes[0], slopes[0]]), np.array([-offsets[0], offsets[0]])
        rows = torch.from_numpy(seen).to(bias.device)
        weight[task, rows] = torch.from_numpy(slopes).to(weight)
        bias[task, rows] = torch.from_numpy(offsets).to(bias)
    return weight, bias
