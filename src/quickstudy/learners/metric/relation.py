"""Relation networks: how much a query and a class have to do with each other is learned, not a fixed distance.

    r_k = g([c_k, f(x)]) in (0, 1),   L = Σ_k (r_k − 1[y = k])²

with c_k the joined embeddings of the class's support, and g a small network over the two side by side.

Sung, Yang, Zhang, Xiang, Torr & Hospedales, "Learning to Compare: Relation Network for Few-Shot Learning", CVPR 2018.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from quickstudy.arguments import check_whole
from quickstudy.learners.learner import Learner
from quickstudy.learners.metric.similarity import class_means
from quickstudy.learners.phi import Phi
from quickstudy.networks import MLP, Network, Normalization, Policy, Statistics, as_network
from quickstudy.rebuild import register
from quickstudy.tasks.batch import Examples, TaskBatch, Tree
from quickstudy.tasks.likelihood import Categorical, Reduction, precise
from quickstudy.tasks.source import Kind

__all__ = ["RelationNetwork"]


@register
class RelationNetwork(Learner):
    """Scores of (class, query) pairs by a learned relation, trained by squared error; any number of classes.

    A class is represented by the mean of its embedded examples. (The paper adds them up, which at a fixed number of
    shots is the same up to a factor that the relation learns; the mean also serves tasks of another number.) A pair has
    a score of its own: the probabilities of the classes are the scores over their sum.

    Normalization inside the relation sees pairs. Under the policies that keep statistics of the support, these are of
    the pairs of every support example with every class.

    φ holds the class representations `[task, way, width]`, the classes that they stand for, and statistics.

    Args:
        network: the embedding. When it gives maps (`Network.maps`, at least 4×4, as of `Conv4(pools=2)`), the relation
            is two convolutional blocks and two linear layers, as in the paper; for vectors, linear layers throughout.
        filters: channels of the relation's two blocks.
        hidden: width of its linear layer.
        reduction: mean or sum over a task's pairs.

    Raises:
        ValueError: maps that are too small for two poolings, or numbers below one.
    """

    kinds = frozenset({"classification"})
    embeds = True

    def __init__(self, network: nn.Module, filters: int = 64, hidden: int = 8, reduction: Reduction = "mean") -> None:
        super().__init__(Categorical(), reduction)
        check_whole(filters=filters, hidden=hidden)
        if min(filters, hidden) < 1:
            raise ValueError(f"filters and hidden must be at least 1, got {filters} and {hidden}")
        self.network, self.filters, self.hidden = as_network(network), filters, hidden
        self.relation = _Relation(self.network, filters, hidden)

    @classmethod
    def example(cls, kind: Kind, normalization: Policy) -> "RelationNetwork":
        return cls(MLP(6, (16, 16), normalization), filters=16)

    def _adapt(self, support: Examples, classes: Bool[Tensor, "task way"] | None) -> Phi:
        assert classes is not None  # Categorical always resolves them
        features, statistics = self.network(support.x, support.mask)
        means, seen = class_means(features, support, classes.shape[1])
        phi = {"means": means, "seen": seen, "statistics": statistics, "relation": {}}
        if self.network.normalization in ("support", "task"):  # the others keep nothing
            phi["relation"] = self.relation(means, precise(features), _pairs(support.mask, seen), None)[1]
        return phi

    def _scores(self, phi: Phi, x: Tree, mask: Bool[Tensor, "task n"]) -> Float[Tensor, "task n way"]:
        """log r / (1 − r) of every query with every class."""
        features, _ = self.network(x, mask, phi["statistics"])
        return self.relation(phi["means"], precise(features), _pairs(mask, phi["seen"]), phi["relation"])[0]

    def _outputs(self, phi: Phi, x: Tree, mask: Bool[Tensor, "task n"]) -> Float[Tensor, "task n way"]:
        return F.logsigmoid(precise(self._scores(phi, x, mask)))

    def forward(self, batch: TaskBatch) -> Float[Tensor, " task"]:
        """The squared error of every task's scores, over the pairs of its queries with its classes."""
        batch.check()
        phi, query = self.adapt(batch.support, batch.classes), self._checked("query", batch.query)
        self._check_values("query", query, phi["classes"])
        scores = torch.sigmoid(precise(self._scores(phi, query.x, query.mask)))
        match = F.one_hot(query.y, scores.shape[-1]).to(scores.dtype)
        pairs = _pairs(query.mask, phi["classes"])
        error = torch.where(pairs, (scores - match).square().flatten(1), 0.0)
        return self._per_example(error.sum(1), pairs)


class _Relation(nn.Module):
    """g: from pairs of features to one number each.

    The first layer is linear in the two side by side, so that it is the sum of a layer on the class and one on the
    example: n + way applications rather than n · way.
    """

    def __init__(self, network: Network, filters: int, hidden: int) -> None:
        super().__init__()
        self.maps = network.maps if network.maps is not None and network.maps[1:] != (1, 1) else None
        self.of_class: nn.Module
        self.of_example: nn.Module
        self.second: nn.Module
        if self.maps is None:
            self.of_class = nn.Linear(network.width, filters)
            self.of_example = nn.Linear(network.width, filters, bias=False)
            self.second = nn.Linear(filters, filters)
            width = filters
        else:
            channels, *sides = self.maps
            if min(sides) < 4:
                raise ValueError(
                    f"network gives maps of {sides[0]}×{sides[1]}, but the relation halves them twice; "
                    "use fewer poolings, as in Conv4(pools=2)"
                )
            self.of_class = nn.Conv2d(channels, filters, 3, padding=1)
            self.of_example = nn.Conv2d(channels, filters, 3, padding=1, bias=False)
            self.second = nn.Conv2d(filters, filters, 3, padding=1)
            width = filters * (sides[0] // 4) * (sides[1] // 4)
        policy: Policy = network.normalization  # type: ignore[assignment]
        self.normalizations = nn.ModuleList(Normalization(filters, policy) for _ in range(2))
        self.score = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, 1))

    def forward(
        self,
        classes: Float[Tensor, "task way width"],
        examples: Float[Tensor, "task n width"],
        mask: Bool[Tensor, "task n*way"],
        statistics: Statistics | None,
    ) -> tuple[Float[Tensor, "task n way"], Statistics]:
        count, ways = examples.shape[1], classes.shape[1]
        of_class, of_example = self._each(self.of_class, classes), self._each(self.of_example, examples)
        pairs = (of_example[:, :, None] + of_class[:, None]).flatten(1, 2)
        hidden, first = self.normalizations[0](pairs, mask, statistics["first"] if statistics else None)
        hidden = self._each(self.second, self._shrunk(hidden))
        hidden, second = self.normalizations[1](hidden, mask, statistics["second"] if statistics else None)
        scores = self.score(self._shrunk(hidden).flatten(2))[..., 0]
        return scores.unflatten(1, (count, ways)), {"first": first, "second": second}

    def _each(self, layer: nn.Module, x: Float[Tensor, "task n *features"]) -> Float[Tensor, "task n *hidden"]:
        if self.maps is None:
            return layer(x)
        images = x.unflatten(2, self.maps) if x.ndim == 3 else x
        return layer(images.flatten(0, 1)).unflatten(0, x.shape[:2])

    def _shrunk(self, x: Float[Tensor, "task n *hidden"]) -> Float[Tensor, "task n *smaller"]:
        """Pooled, where there is something to pool, and cut at zero."""
        return F.relu(x if self.maps is None else F.max_pool2d(x.flatten(0, 1), 2).unflatten(0, x.shape[:2]))


def _pairs(mask: Bool[Tensor, "task n"], classes: Bool[Tensor, "task way"]) -> Bool[Tensor, "task n*way"]:
    """Which (example, class) pairs are real."""
    return (mask[:, :, None] & classes[:, None]).flatten(1)
