"""Prototypical networks: a class is the mean of its embedded support, a query belongs to the nearest.

    c_k = mean of f(x) over the support of class k;  p(y = k given x) = softmax over k of −s ‖f(x) − c_k‖²

Snell, Swersky & Zemel, "Prototypical Networks for Few-shot Learning", NeurIPS 2017.
"""

import math
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from quickstudy.arguments import check_flag, check_real
from quickstudy.learners.learner import Learner
from quickstudy.learners.metric.similarity import class_means, cosine, nearness
from quickstudy.learners.phi import Phi
from quickstudy.networks import MLP, Policy, as_network
from quickstudy.rebuild import register
from quickstudy.tasks.batch import Examples, Tree
from quickstudy.tasks.likelihood import Categorical, Reduction
from quickstudy.tasks.source import Kind

__all__ = ["PrototypicalNetwork"]


@register
class PrototypicalNetwork(Learner):
    """Nearest class mean in a learned embedding; any number of classes.

    φ holds the prototypes `[task, way, width]`. A class that exists but has no support example gets the mean of the
    task's other prototypes: nothing is known of it but the task that it belongs to.

    Args:
        network: the embedding.
        distance: `euclidean`, squared, as in the paper; or `cosine`, for which the softmax is over s · cos.
        scale: s, an inverse temperature. The paper's is 1; cosines, which lie in −1 … 1, need about 10.
        learn_scale: learn it with the embedding, from there on (Oreshkin et al., "TADAM", NeurIPS 2018).
        reduction: mean or sum over query examples.

    Raises:
        ValueError: an unknown distance, or a scale that is not positive.
    """

    kinds = frozenset({"classification"})
    embeds = True

    def __init__(
        self,
        network: nn.Module,
        distance: Literal["euclidean", "cosine"] = "euclidean",
        scale: float = 1.0,
        learn_scale: bool = False,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(Categorical(), reduction)
        if distance not in ("euclidean", "cosine"):
            raise ValueError(f"distance must be 'euclidean' or 'cosine', got {distance!r}")
        check_real(scale=scale)
        check_flag(learn_scale=learn_scale)
        if not scale > 0:
            raise ValueError(f"scale must be positive and finite, got {scale}")
        self.network = as_network(network)
        self.distance, self.scale, self.learn_scale = distance, scale, learn_scale
        if learn_scale:
            self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))

    @classmethod
    def example(cls, kind: Kind, normalization: Policy) -> "PrototypicalNetwork":
        return cls(MLP(6, (16, 16), normalization))

    def _adapt(self, support: Examples, classes: Bool[Tensor, "task way"] | None) -> Phi:
        assert classes is not None  # Categorical always resolves them
        features, statistics = self.network(support.x, support.mask)
        prototypes, _ = class_means(features, support, classes.shape[1])
        return {"prototypes": prototypes, "statistics": statistics}

    def _outputs(self, phi: Phi, x: Tree, mask: Bool[Tensor, "task n"]) -> Float[Tensor, "task n way"]:
        features, _ = self.network(x, mask, phi["statistics"])
        near = (nearness if self.distance == "euclidean" else cosine)(features, phi["prototypes"])
        return near * (self.log_scale.exp() if self.learn_scale else self.scale)
