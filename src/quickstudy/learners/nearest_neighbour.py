"""Nearest neighbour: the label of the support example that is closest, in pixels or in the features of a network.

Cover & Hart, "Nearest neighbor pattern classification", IEEE Transactions on Information Theory 1967.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from quickstudy.arguments import check_real, check_whole
from quickstudy.learners.learner import Learner
from quickstudy.learners.metric.similarity import nearness
from quickstudy.learners.phi import Phi
from quickstudy.networks import MLP, Policy, as_network
from quickstudy.rebuild import register
from quickstudy.tasks.batch import Examples, Tree
from quickstudy.tasks.likelihood import Categorical, Gaussian, Likelihood, likelihood_for
from quickstudy.tasks.source import Kind

__all__ = ["NearestNeighbour"]


@register
class NearestNeighbour(Learner):
    """The k nearest support examples vote, or are averaged; nothing is learned across tasks.

    Args:
        network: where the distance is measured; None for the inputs themselves, flattened.
        likelihood: Categorical, or Gaussian with a given variance.
        neighbours: k; fewer where a task has fewer examples.
        smoothing: added to every class's votes, so that no class gets the probability 0.

    Raises:
        ValueError: k below 1, smoothing that is not positive, or a likelihood that votes do not determine.
    """

    kinds = frozenset({"classification", "regression"})
    trainable = False

    def __init__(
        self,
        network: nn.Module | None = None,
        likelihood: Likelihood | None = None,
        neighbours: int = 1,
        smoothing: float = 1.0,
    ) -> None:
        super().__init__(Categorical() if likelihood is None else likelihood)
        check_whole(neighbours=neighbours)
        check_real(smoothing=smoothing)
        if neighbours < 1 or not smoothing > 0:
            raise ValueError(f"neighbours must be at least 1 and smoothing positive, got {neighbours} and {smoothing}")
        if isinstance(likelihood, Gaussian) and likelihood.variance is None:
            raise ValueError("neighbours give a mean, not a variance: use Gaussian(variance=…) with a number")
        self.network = None if network is None else as_network(network)
        self.neighbours, self.smoothing = neighbours, smoothing

    @classmethod
    def example(cls, kind: Kind, normalization: Policy) -> "NearestNeighbour":
        return cls(MLP(6, (16, 16), normalization), likelihood_for(kind), neighbours=2)

    def _features(self, x: Tree, mask: Tensor, statistics: dict | None) -> tuple[Tensor, dict]:
        if self.network is not None:
            with torch.no_grad():  # the features are given, not learned
                return self.network(x, mask, statistics)
        if not isinstance(x, Tensor):
            raise TypeError("without a network, x must be one tensor: there is no distance between trees")
        return (x.flatten(2) if x.ndim > 2 else x[..., None]), {}

    def _adapt(self, support: Examples, classes: Bool[Tensor, "task way"] | None) -> Phi:
        features, statistics = self._features(support.x, support.mask, None)
        return {
            "features": features,
            "votes": self._votes(support, None if classes is None else classes.shape[1]),
            "mask": support.mask,
            "statistics": statistics,
        }

    def _votes(self, examples: Examples, ways: int | None) -> Float[Tensor, "task n outputs"]:
        """What every example says: its class as a one-hot vector, or its target."""
        if ways is not None:
            return F.one_hot(examples.y, ways).to(torch.get_default_dtype())
        return examples.y if examples.y.ndim == 3 else examples.y[..., None]

    def _update(self, phi: Phi, examples: Examples) -> Phi:
        """φ with further examples to be near to."""
        features, _ = self._features(examples.x, examples.mask, phi["statistics"])
        ways = phi["votes"].shape[-1] if "classes" in phi else None
        more = {"features": features, "votes": self._votes(examples, ways), "mask": examples.mask}
        return {**phi, **{name: torch.cat([phi[name], tensor], 1) for name, tensor in more.items()}}

    def _outputs(self, phi: Phi, x: Tree, mask: Bool[Tensor, "task n"]) -> Float[Tensor, "task n outputs"]:
        features, _ = self._features(x, mask, phi["statistics"])
        near = nearness(features, phi["features"]).masked_fill(~phi["mask"][:, None], -torch.inf)
        k = min(self.neighbours, near.shape[-1])
        value, index = near.topk(k, -1)
        votes, real = phi["votes"], (value > -torch.inf)[..., None]
        said = (
            votes[:, None]
            .expand(-1, index.shape[1], -1, -1)
            .gather(2, index[..., None].expand(-1, -1, -1, votes.shape[-1]))
        )
        total = torch.where(real, said, 0.0).sum(2)
        if "classes" in phi:
            return torch.log(total + self.smoothing)
        return total / real.sum(2).clamp(min=1)
