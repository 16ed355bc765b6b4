"""Conditional neural processes: feed forward, then average.

    h = 1/n Σ_j e(f(x_j), y_j),   p(y | x, D) from g(f(x), h)

The support set becomes one vector, whatever its size and order. So φ = {h, θ_g}: h is what is known of the task, g what
all tasks share.

Garnelo et al., "Conditional Neural Processes", ICML 2018; Zaheer et al., "Deep Sets", NeurIPS 2017.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from quickstudy.arguments import check_whole
from quickstudy.learners.black_box.conditioned import Condition, Conditioned
from quickstudy.learners.labels import LabelEmbedding
from quickstudy.learners.learner import Learner
from quickstudy.learners.phi import Phi
from quickstudy.networks import MLP, Policy, as_network
from quickstudy.rebuild import register
from quickstudy.tasks.batch import Examples, Tree
from quickstudy.tasks.likelihood import Likelihood, Reduction, likelihood_for
from quickstudy.tasks.source import Kind

__all__ = ["ConditionalNeuralProcess", "Reader"]


@register
class ConditionalNeuralProcess(Learner):
    """The mean of what a network makes of each support example, given to a decoder with every query.

    φ holds that mean h `[task, context]` and of how many examples it is, so `update` is exact: the result is that of
    adapting to old and new examples together (unless normalization takes statistics of the support, which stay those
    of the first).

    Args:
        network: turns an input into features; MLP or Conv4, say.
        likelihood: what the outputs mean; a Categorical must say its number of ways. For a predicted variance,
            `Gaussian(variance=None)`.
        context: length of h.
        width: of the hidden layers of e and g.
        layers: how many hidden layers each of them has.
        condition: how h enters g: beside the features (`concatenate`), or as scales and shifts of g's layers (`film`).
        reduction: mean or sum over query examples.

    Raises:
        ValueError: a size below one, or an unknown condition.
    """

    def __init__(
        self,
        network: nn.Module,
        likelihood: Likelihood,
        context: int = 128,
        width: int = 128,
        layers: int = 2,
        condition: Condition = "concatenate",
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(likelihood, reduction)
        check_whole(context=context, width=width, layers=layers)
        if min(context, width, layers) < 1:
            raise ValueError(f"context, width and layers must be at least 1, got {context}, {width} and {layers}")
        self.network = as_network(network)
        self.context, self.width, self.layers, self.condition = context, width, layers, condition
        self.reader = Reader(self.network.width, likelihood, width, layers, context)
        self.decoder = Conditioned(self.network.width, context, width, layers, likelihood.outputs, condition)

    @classmethod
    def example(cls, kind: Kind, normalization: Policy) -> "ConditionalNeuralProcess":
        return cls(MLP(6, (16,), normalization), likelihood_for(kind, 4), context=16, width=32, layers=1)

    def _adapt(self, support: Examples, classes: Bool[Tensor, "task way"] | None) -> Phi:
        features, statistics = self.network(support.x, support.mask)
        h = masked_mean(self.reader(features, support.y), support.mask)
        return {"h": h, "count": support.count.to(h.dtype), "statistics": statistics}

    def _update(self, phi: Phi, examples: Examples) -> Phi:
        features, _ = self.network(examples.x, examples.mask, phi["statistics"])
        h, count = read_on(phi, self.reader(features, examples.y), examples)
        return {**phi, "h": h, "count": count}

    def _outputs(self, phi: Phi, x: Tree, mask: Bool[Tensor, "task n"]) -> Float[Tensor, "task n outputs"]:
        features, _ = self.network(x, mask, phi["statistics"])
        return self.decoder(features, phi["h"][:, None].expand(-1, features.shape[1], -1))


class Reader(nn.Module):
    """e: from the features and the label of an example to a vector.

    Args:
        features: length of the features.
        likelihood: what the labels are.
        width: of the hidden layers.
        layers: how many of them.
        outputs: length of the vector.
    """

    def __init__(self, features: int, likelihood: Likelihood, width: int, layers: int, outputs: int) -> None:
        super().__init__()
        self.input, self.label = nn.Linear(features, width), LabelEmbedding(likelihood, width)
        parts: list[nn.Module] = []
        for _ in range(layers - 1):
            parts += [nn.ReLU(), nn.Linear(width, width)]
        self.rest = nn.Sequential(*parts, nn.ReLU(), nn.Linear(width, outputs))

    def forward(self, features: Float[Tensor, "task n features"], y: Tensor) -> Float[Tensor, "task n outputs"]:
        # A layer on both side by side is the sum of a layer on each.
        return self.rest(self.input(features) + self.label(y))


def masked_mean(values: Float[Tensor, "task n width"], mask: Bool[Tensor, "task n"]) -> Float[Tensor, "task width"]:
    """Over the real examples; 0 where there are none."""
    return torch.where(mask[..., None], values, 0.0).sum(1) / mask.sum(1).clamp(min=1)[:, None]


def read_on(
    phi: Phi, values: Float[Tensor, "task n width"], examples: Examples
) -> tuple[Float[Tensor, "task width"], Float[Tensor, " task"]]:
    """The mean h of what φ has read and of the `values` of further examples, and of how many it is."""
    count = examples.count.to(phi["h"].dtype)
    total = phi["count"] + count
    share = (count / total.clamp(min=1))[:, None]
    return (1 - share) * phi["h"] + share * masked_mean(values, examples.mask), total
