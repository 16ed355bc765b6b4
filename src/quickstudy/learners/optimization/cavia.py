"""CAVIA: a few context parameters adapt to the task, the network is shared by all.

    φ_i = φ − α ∇_φ L(φ, θ, support_i), begun at φ = 0 and repeated;  θ minimises the sum of L(φ_i, θ, query_i)

Zintgraf, Shiarlis, Kurin, Hofmann & Whiteson, "Fast Context Adaptation via Meta-Learning", ICML 2019.
"""

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from quickstudy.arguments import check_whole
from quickstudy.learners.optimization.gradient_learner import GradientLearner
from quickstudy.learners.optimization.meta_gradient import MetaGradient
from quickstudy.learners.weights import Weights
from quickstudy.networks import MLP, Network, Normalization, Policy, Statistics, as_network
from quickstudy.rebuild import register
from quickstudy.tasks.batch import Tree
from quickstudy.tasks.likelihood import Likelihood, Reduction, likelihood_for
from quickstudy.tasks.source import Kind

__all__ = ["CAVIA"]


@register
class CAVIA(GradientLearner):
    """Context adaptation: φ is a short vector, which can be looked at, and overfits less than all weights.

    The vector is appended to the input, or (`place`) scales and shifts the channels of a layer by a learned linear map
    of it. A network given with a place keeps a hook there: give each learner a network of its own.

    Args:
        network: the feature extractor; without a place it takes vectors, longer by `contexts` than the inputs.
        likelihood: what the outputs mean.
        contexts: the length of the context.
        place: the name of a module in the network, an `nn.Linear`, `nn.Conv2d` or `Normalization`, whose outputs are
            modulated; by default the context is appended to the input.
        inner_steps: gradient steps on the support.
        inner_rate: their step size; large, since the context begins at zero and is all that adapts.
        evaluation_steps, meta_gradient, tasks_at_once, reduction: as of `MAML`.

    Raises:
        ValueError: as `MAML`; no context, a place that the network has not or that has no channels, or no place with a
            network that does not take vectors.
    """

    def __init__(
        self,
        network: nn.Module,
        likelihood: Likelihood,
        contexts: int = 5,
        place: str | None = None,
        inner_steps: int = 1,
        inner_rate: float = 1.0,
        evaluation_steps: int | None = None,
        meta_gradient: MetaGradient | None = None,
        tasks_at_once: int | None = None,
        reduction: Reduction = "mean",
    ) -> None:
        check_whole(contexts=contexts)
        if contexts < 1:
            raise ValueError(f"contexts must be at least 1, got {contexts}")
        if place is not None and not isinstance(place, str):
            raise TypeError(f"place must be the name of a module in the network, or None, got {place!r}")
        network = as_network(network)
        conditioned = _Appended(network, contexts) if place is None else _Modulated(network, contexts, place)
        super().__init__(
            conditioned,
            likelihood,
            inner_steps,
            inner_rate,
            evaluation_steps,
            meta_gradient,
            tasks_at_once=tasks_at_once,
            reduction=reduction,
        )
        self.contexts, self.place = contexts, place

    @classmethod
    def example(cls, kind: Kind, normalization: Policy) -> "CAVIA":
        return cls(MLP(6, (16, 16), normalization), likelihood_for(kind, 4), 4, "layers.0", 3, inner_rate=0.3)

    @property
    def network(self) -> nn.Module:
        """The feature extractor."""
        conditioned: Any = self.predictor.network
        return conditioned.network

    def _select(self, adapting: str) -> list[str]:
        return ["network.context"]

    def _begin(self, weights: Weights) -> Weights:
        return {name: self.predictor.get_buffer(name) for name in self._adapted}


class _Conditioned(Network):
    """A network and a context, which is zero until an inner loop puts another in its place."""

    context: Tensor

    def __init__(self, network: Network, contexts: int) -> None:
        super().__init__()
        self.network, self.width, self.maps = network, network.width, network.maps
        self.normalization, self.adaptable = network.normalization, network.adaptable
        like = next(network.parameters())
        self.register_buffer("context", like.new_zeros(contexts), persistent=False)


class _Appended(_Conditioned):
    """The context as further inputs."""

    def __init__(self, network: Network, contexts: int) -> None:
        super().__init__(network, contexts)
        takes = network.input_shape
        if takes is not None and (len(takes) != 1 or takes[0] < contexts):
            raise ValueError(
                f"place is None, so that {contexts} contexts are appended to the input, but the network takes inputs "
                f"of the shape {list(takes)}; name a place in it, such as 'normalizations.0'"
            )

    @property
    def input_shape(self) -> tuple[int, ...] | None:
        takes = self.network.input_shape
        return None if takes is None else (takes[0] - len(self.context),)

    def forward(
        self, x: Tree, mask: Bool[Tensor, "task n"], statistics: Statistics | None = None
    ) -> tuple[Float[Tensor, "task n width"], Statistics]:
        if not isinstance(x, Tensor):
            raise TypeError(f"contexts can be appended to one tensor, got {type(x).__name__}; name a place instead")
        flat = x.flatten(2) if x.ndim > 2 else x[..., None]
        return self.network(torch.cat([flat, self.context.expand(*flat.shape[:2], -1)], 2), mask, statistics)


class _Modulated(_Conditioned):
    """The context as scales and shifts of the channels of one layer (FiLM)."""

    def __init__(self, network: Network, contexts: int, place: str) -> None:
        super().__init__(network, contexts)
        parts = dict(network.named_modules())
        if place not in parts or not place:
            raise ValueError(
                f"place is {place!r}, which the network has not; it has {', '.join(p for p in parts if p)}"
            )
        part = parts[place]
        if isinstance(part, nn.Linear):
            channels, self._axis = part.out_features, -1
        elif isinstance(part, nn.Conv2d):
            channels, self._axis = part.out_channels, -3
        elif isinstance(part, Normalization):
            channels, self._axis = part.channels, 2
        else:
            raise ValueError(
                f"place is {place!r}, a {type(part).__name__}, whose channels are not known; choose an nn.Linear, "
                "nn.Conv2d or Normalization"
            )
        self.modulation = nn.Linear(contexts, 2 * channels)
        part.register_forward_hook(self._modulate)

    @property
    def input_shape(self) -> tuple[int, ...] | None:
        return self.network.input_shape

    def forward(
        self, x: Tree, mask: Bool[Tensor, "task n"], statistics: Statistics | None = None
    ) -> tuple[Float[Tensor, "task n width"], Statistics]:
        return self.network(x, mask, statistics)

    def _modulate(self, module: nn.Module, inputs: object, outputs: Tensor | tuple[Tensor, object]) -> object:
        found, *rest = outputs if isinstance(outputs, tuple) else (outputs,)
        axes = [1] * found.ndim
        axes[self._axis] = -1
        scale, shift = (part.reshape(axes) for part in self.modulation(self.context).chunk(2))
        modulated = found * (1 + scale) + shift
        return (modulated, *rest) if rest else modulated
