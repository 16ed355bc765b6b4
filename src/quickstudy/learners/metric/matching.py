"""Matching networks: a query's label is the labels of the support, weighted by attention.

    p(y given x, S) = Σ_i a(x, x_i) y_i,   a = softmax over the support of cos(f(x), g(x_i))

With full context embeddings, g(x_i) depends on the whole support, through a bidirectional LSTM over it, and f(x) too,
through an LSTM that attends to the support again and again.

Vinyals, Blundell, Lillicrap, Kavukcuoglu & Wierstra, "Matching Networks for One Shot Learning", NeurIPS 2016.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from quickstudy.arguments import check_real, check_whole
from quickstudy.learners.learner import Learner
from quickstudy.learners.metric.similarity import cosine
from quickstudy.learners.phi import Phi
from quickstudy.networks import MLP, Policy, as_network
from quickstudy.rebuild import register
from quickstudy.tasks.batch import Examples, Tree
from quickstudy.tasks.likelihood import Categorical, Reduction, precise
from quickstudy.tasks.source import Kind

__all__ = ["FullContextMatchingNetwork", "MatchingNetwork"]

# Of the probability, spread over all classes: one that no support example stands for is unlikely, not impossible.
_FLOOR = 1e-6


@register
class MatchingNetwork(Learner):
    """Attention over the support by cosine similarity, each example embedded on its own; any number of classes.

    φ holds the embedded support `[task, n, width]` and its labels as one-hot vectors.

    Args:
        network: the embedding, f = g.
        scale: what cosines are multiplied by before the softmax; the paper's is 1.
        reduction: mean or sum over query examples.

    Raises:
        ValueError: a scale that is not positive.
    """

    kinds = frozenset({"classification"})
    embeds = True

    def __init__(self, network: nn.Module, scale: float = 1.0, reduction: Reduction = "mean") -> None:
        super().__init__(Categorical(), reduction)
        check_real(scale=scale)
        if not scale > 0:
            raise ValueError(f"scale must be positive and finite, got {scale}")
        self.network, self.scale = as_network(network), scale

    @classmethod
    def example(cls, kind: Kind, normalization: Policy) -> "MatchingNetwork":
        return cls(MLP(6, (16, 16), normalization), scale=5.0)

    def _adapt(self, support: Examples, classes: Bool[Tensor, "task way"] | None) -> Phi:
        assert classes is not None  # Categorical always resolves them
        features, statistics = self.network(support.x, support.mask)
        features = precise(features)
        return {
            "support": self._support_in_context(features, support.mask),
            "votes": F.one_hot(support.y, classes.shape[1]).to(features.dtype),
            "mask": support.mask,
            "statistics": statistics,
        }

    def _outputs(self, phi: Phi, x: Tree, mask: Bool[Tensor, "task n"]) -> Float[Tensor, "task n way"]:
        features, _ = self.network(x, mask, phi["statistics"])
        queries = self._query_in_context(precise(features), phi)
        attention = _attention(self.scale * cosine(queries, phi["support"]), phi["mask"])
        return torch.log(attention @ phi["votes"] + _FLOOR)

    def _support_in_context(
        self, features: Float[Tensor, "task n width"], mask: Bool[Tensor, "task n"]
    ) -> Float[Tensor, "task n width"]:
        """g(x_i) of every support example."""
        return features

    def _query_in_context(self, features: Float[Tensor, "task n width"], phi: Phi) -> Float[Tensor, "task n width"]:
        """f(x) of every query."""
        return features


@register
class FullContextMatchingNetwork(MatchingNetwork):
    """Matching networks with full context embeddings.

    g adds to an example's embedding the states of a forward and a backward LSTM over the support, so its order matters.
    f is what an LSTM makes of the query's embedding in a few steps, between which it reads the support by attention.

    Args:
        network: the embedding that contexts are added to.
        scale: what cosines are multiplied by before the softmax; the paper's is 1.
        processing_steps: of the query's LSTM.
        reduction: mean or sum over query examples.

    Raises:
        ValueError: a scale that is not positive, or no processing step.
    """

    order_matters = True

    def __init__(
        self, network: nn.Module, scale: float = 1.0, processing_steps: int = 5, reduction: Reduction = "mean"
    ) -> None:
        super().__init__(network, scale, reduction)
        check_whole(processing_steps=processing_steps)
        if processing_steps < 1:
            raise ValueError(f"processing_steps must be at least 1, got {processing_steps}")
        self.processing_steps = processing_steps
        width = self.network.width
        self.forwards, self.backwards = nn.LSTMCell(width, width), nn.LSTMCell(width, width)
        self.reader = nn.LSTMCell(2 * width, width)

    def _support_in_context(
        self, features: Float[Tensor, "task n width"], mask: Bool[Tensor, "task n"]
    ) -> Float[Tensor, "task n width"]:
        if not features.shape[1]:
            return features
        forwards = _states(self.forwards, features, mask)
        backwards = _states(self.backwards, features.flip(1), mask.flip(1)).flip(1)
        return features + forwards + backwards

    def _query_in_context(self, features: Float[Tensor, "task n width"], phi: Phi) -> Float[Tensor, "task n width"]:
        flat = features.flatten(0, 1)
        hidden, cell, read = torch.zeros_like(flat), torch.zeros_like(flat), torch.zeros_like(flat)
        for _ in range(self.processing_steps):
            state, cell = self.reader(torch.cat([flat, read], 1), (hidden, cell))
            state, cell = precise(state), precise(cell)
            hidden = state + flat
            scores = hidden.unflatten(0, features.shape[:2]) @ phi["support"].mT
            read = (_attention(scores, phi["mask"]) @ phi["support"]).flatten(0, 1)
        return hidden.unflatten(0, features.shape[:2])


def _states(
    cell: nn.LSTMCell, features: Float[Tensor, "task n width"], mask: Bool[Tensor, "task n"]
) -> Float[Tensor, "task n width"]:
    """The hidden states of an LSTM along n; padding leaves the state as it is."""
    hidden = memory = torch.zeros_like(features[:, 0])
    states = []
    for example, real in zip(features.unbind(1), mask.unbind(1), strict=True):
        new = cell(example, (hidden, memory))
        hidden, memory = (torch.where(real[:, None], precise(n), o) for n, o in zip(new, (hidden, memory), strict=True))
        states.append(hidden)
    return torch.stack(states, 1)


def _attention(
    scores: Float[Tensor, "task n support"], mask: Bool[Tensor, "task support"]
) -> Float[Tensor, "task n support"]:
    """Softmax over the real support examples; zeros where there is none."""
    scores = scores.masked_fill(~mask[:, None], -torch.inf)
    some = mask.any(1)[:, None, None]
    return torch.where(some, torch.where(some, scores, 0.0).softmax(-1), 0.0)
