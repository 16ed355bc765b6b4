"""Siamese networks: twins that put examples of one class together and keep those of two classes a margin apart.

    L = d² for two examples of one class,  max(0, m − d)² for two of different ones,   d = ‖f(a) − f(b)‖

Hadsell, Chopra & LeCun, "Dimensionality Reduction by Learning an Invariant Mapping", CVPR 2006 (the loss); Koch, Zemel
& Salakhutdinov, "Siamese Neural Networks for One-shot Image Recognition", 2015 (one-shot classification by it).
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from quickstudy.arguments import check_real
from quickstudy.learners.learner import Learner
from quickstudy.learners.metric.similarity import squared_distance
from quickstudy.learners.phi import Phi
from quickstudy.networks import MLP, Policy, as_network
from quickstudy.rebuild import register
from quickstudy.tasks.batch import Examples, TaskBatch, Tree
from quickstudy.tasks.likelihood import Categorical, Reduction, precise, seen_classes
from quickstudy.tasks.source import Kind

__all__ = ["SiameseNetwork"]


@register
class SiameseNetwork(Learner):
    """Trained on pairs by the contrastive loss; a query belongs to the class of its nearest support example.

    The loss of a task is over all pairs of a query with a support example. A pair has no probability of its own: those
    of the classes are a softmax over −d² to their nearest examples, and a class without any is as far as the margin.

    φ holds the embedded support `[task, n, width]`, its labels, and which classes they show.

    Args:
        network: the twins.
        margin: m, in units of the embedding.
        reduction: mean or sum over a task's pairs.

    Raises:
        ValueError: a margin that is not positive.
    """

    kinds = frozenset({"classification"})
    embeds = True

    def __init__(self, network: nn.Module, margin: float = 1.0, reduction: Reduction = "mean") -> None:
        super().__init__(Categorical(), reduction)
        check_real(margin=margin)
        if not margin > 0:
            raise ValueError(f"margin must be positive, got {margin}")
        self.network, self.margin = as_network(network), margin

    @classmethod
    def example(cls, kind: Kind, normalization: Policy) -> "SiameseNetwork":
        return cls(MLP(6, (16, 16), normalization), margin=2.0)

    def _adapt(self, support: Examples, classes: Bool[Tensor, "task way"] | None) -> Phi:
        assert classes is not None  # Categorical always resolves them
        features, statistics = self.network(support.x, support.mask)
        members = F.one_hot(support.y, classes.shape[1]).bool() & support.mask[..., None]
        return {
            "support": precise(features),
            "members": members,
            "shown": seen_classes(support, classes.shape[1]),
            "statistics": statistics,
        }

    def _distances(self, phi: Phi, x: Tree, mask: Bool[Tensor, "task n"]) -> Float[Tensor, "task n support"]:
        """Squared, from every query to every support example."""
        features, _ = self.network(x, mask, phi["statistics"])
        return squared_distance(features, phi["support"])

    def _outputs(self, phi: Phi, x: Tree, mask: Bool[Tensor, "task n"]) -> Float[Tensor, "task n way"]:
        squared = self._distances(phi, x, mask)[..., None]
        far = torch.finfo(squared.dtype).max
        members = phi["members"][:, None]
        # Room for one more, so that the nearest of no examples is defined.
        nearest = F.pad(torch.where(members, squared, far), (0, 0, 0, 1), value=far).amin(2)
        return -torch.where(phi["shown"][:, None], nearest, self.margin**2)

    def forward(self, batch: TaskBatch) -> Float[Tensor, " task"]:
        """The contrastive loss of every task, over the pairs of its queries with its support."""
        batch.check()
        phi, query = self.adapt(batch.support, batch.classes), self._checked("query", batch.query)
        self._check_values("query", query, phi["classes"])
        squared = self._distances(phi, query.x, query.mask)
        same = query.y[:, :, None] == batch.support.inert().y[:, None]
        # The root has no slope at 0, where two different classes may well begin.
        apart = (self.margin - (squared + 1e-12).sqrt()).clamp(min=0).square()
        pairs = (query.mask[:, :, None] & batch.support.mask[:, None]).flatten(1)
        loss = torch.where(same, squared, apart).flatten(1)
        return self._per_example(torch.where(pairs, loss, 0.0).sum(1), pairs)
