"""Networks with a state that read the support one example after the other.

    s_0 learned or empty,   s_j = step(s_{j−1}, [f(x_j), y_j]),   p(y | x, D) from step(s_n, [f(x), no label])

or, where labels come one step late,

    s_j = step(s_{j−1}, [f(x_j), y_{j−1}]),   p(y | x, D) from step(s_n, [f(x), y_n])

What is in the state, and how a token changes it, is the subclass's.
"""

from abc import abstractmethod
from typing import Literal, TypeAlias, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from quickstudy.learners.labels import LabelEmbedding
from quickstudy.learners.learner import Learner
from quickstudy.learners.phi import Phi
from quickstudy.networks import as_network
from quickstudy.tasks.batch import Examples, Tree
from quickstudy.tasks.likelihood import Likelihood, Reduction

__all__ = ["Labels", "OneByOne", "State"]

Labels: TypeAlias = Literal["beside", "shifted"]

State = dict[str, Tensor]
"""What has been read so far: tensors with the task axis first."""


class OneByOne(Learner):
    """φ is the state after the last example of the support. Every query goes on from there, alone.

    `update` reads on, so the result is that of adapting to old and new examples together (unless normalization takes
    statistics of the support, which stay those of the first). Where a support has no order, episodes should shuffle
    it, as all sources here do: a set method need not learn that order means nothing.

    Args:
        network: turns an input into features; MLP or Conv4, say.
        likelihood: what the outputs mean.
        width: of a token.
        labels: where the label of an example stands: `beside` its input, or `shifted` to the input that follows, so
            that an input is seen before its label, and the query comes with the last label of the support.
        reduction: mean or sum over query examples.

    Raises:
        ValueError: an unknown place of labels.
    """

    order_matters = True

    def __init__(
        self, network: nn.Module, likelihood: Likelihood, width: int, labels: Labels, reduction: Reduction
    ) -> None:
        super().__init__(likelihood, reduction)
        if labels not in get_args(Labels):
            raise ValueError(f"labels must be one of {', '.join(get_args(Labels))}, got {labels!r}")
        self.network = as_network(network)
        self.width, self.labels = width, labels
        self.input, self.label = nn.Linear(self.network.width, width), LabelEmbedding(likelihood, width)
        self.asked = nn.Parameter(torch.zeros(width))  # stands where a label would, when there is none

    @abstractmethod
    def _first(self, tasks: int) -> State:
        """The state before the first example."""

    @abstractmethod
    def _step(self, token: Float[Tensor, "row width"], state: State) -> State:
        """The state after one more token."""

    @abstractmethod
    def _said(self, state: State) -> Float[Tensor, "row outputs"]:
        """Raw outputs once the query has been read."""

    def _start(self, tasks: int) -> State:
        first = self._first(tasks)
        return {**first, "label": self.asked.expand(tasks, -1)} if self.labels == "shifted" else first

    def _read(self, examples: Examples, features: Float[Tensor, "task n features"], state: State) -> State:
        inputs, labels = self.input(features), self.label(examples.y)
        for place in range(inputs.shape[1]):
            label = labels[:, place]
            after = self._step(inputs[:, place] + state.get("label", label), state)
            if "label" in state:
                after["label"] = label  # for the next
            real = examples.mask[:, place]  # padding may stand anywhere
            state = {name: torch.where(_like(real, old), after[name], old) for name, old in state.items()}
        return state

    def _adapt(self, support: Examples, classes: Bool[Tensor, "task way"] | None) -> Phi:
        features, statistics = self.network(support.x, support.mask)
        return {**self._read(support, features, self._start(support.tasks)), "statistics": statistics}

    def _update(self, phi: Phi, examples: Examples) -> Phi:
        features, _ = self.network(examples.x, examples.mask, phi["statistics"])
        return {**phi, **self._read(examples, features, {name: phi[name] for name in self._start(1)})}

    def _outputs(self, phi: Phi, x: Tree, mask: Bool[Tensor, "task n"]) -> Float[Tensor, "task n outputs"]:
        features, _ = self.network(x, mask, phi["statistics"])
        label = phi["label"][:, None] if self.labels == "shifted" else self.asked
        tokens = self.input(features) + label
        # Every query goes on from the state after the support, as if it were the only one.
        state = {
            name: phi[name][:, None].expand(-1, tokens.shape[1], *phi[name].shape[1:]).flatten(0, 1)
            for name in self._first(1)
        }
        return self._said(self._step(tokens.flatten(0, 1), state)).unflatten(0, tokens.shape[:2])


def _like(real: Bool[Tensor, " task"], tensor: Tensor) -> Tensor:
    return real.reshape(-1, *[1] * (tensor.ndim - 1))
