"""A recurrent network as the learning algorithm: it reads the support one example after the other.

    s_0 learned,   s_j = LSTM(s_{j−1}, [f(x_j), y_j]),   p(y | x, D) from LSTM(s_n, [f(x), no label])

φ is the state after the support. Every query is read from there, alone. With shifted labels, the label of an example
comes with the input that follows it.

Hochreiter, Younger & Conwell, "Learning to Learn Using Gradient Descent", ICANN 2001; Santoro et al., "Meta-Learning
with Memory-Augmented Neural Networks", ICML 2016, where it is the network without external memory.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from quickstudy.arguments import check_whole
from quickstudy.learners.black_box.one_by_one import Labels, OneByOne, State
from quickstudy.networks import MLP, Policy
from quickstudy.rebuild import register
from quickstudy.tasks.likelihood import Likelihood, Reduction, likelihood_for
from quickstudy.tasks.source import Kind

__all__ = ["RecurrentLearner"]


@register
class RecurrentLearner(OneByOne):
    """Long short-term memory over the support, in the order in which it stands.

    φ holds the hidden and the cell state of every layer, `[task, layer, width]` each; with shifted labels also the
    `label` `[task, width]` that is to come with the query, embedded. `update` reads on, so the result
    is that of adapting to old and new examples together (unless normalization takes statistics of the support, which
    stay those of the first). Where a support has no order, episodes should shuffle it, as all sources here do: a set
    method need not learn that order means nothing.

    Args:
        network: turns an input into features; MLP or Conv4, say.
        likelihood: what the outputs mean; a Categorical must say its number of ways.
        width: of the state.
        layers: how many networks read one above the other.
        labels: `beside` their inputs, or `shifted` to the input that follows: an input is then seen before its label,
            and a query comes with the last label of the support.
        reduction: mean or sum over query examples.

    Raises:
        ValueError: a size below one, or an unknown place of labels.
    """

    def __init__(
        self,
        network: nn.Module,
        likelihood: Likelihood,
        width: int = 128,
        layers: int = 1,
        labels: Labels = "beside",
        reduction: Reduction = "mean",
    ) -> None:
        check_whole(width=width, layers=layers)
        if min(width, layers) < 1:
            raise ValueError(f"width and layers must be at least 1, got {width} and {layers}")
        super().__init__(network, likelihood, width, labels, reduction)
        self.layers = layers
        self.cells = nn.ModuleList(nn.LSTMCell(width, width) for _ in range(layers))
        self.first_hidden = nn.Parameter(torch.zeros(layers, width))
        self.first_cell = nn.Parameter(torch.zeros(layers, width))
        self.output = nn.Linear(width, likelihood.outputs)

    @classmethod
    def example(cls, kind: Kind, normalization: Policy) -> "RecurrentLearner":
        return cls(MLP(6, (16,), normalization), likelihood_for(kind, 4), width=24)

    def _first(self, tasks: int) -> State:
        """The hidden and the cell state of every layer, `[task, layer, width]`."""
        return {"hidden": self.first_hidden.expand(tasks, -1, -1), "cell": self.first_cell.expand(tasks, -1, -1)}

    def _step(self, token: Float[Tensor, "row width"], state: State) -> State:
        states = []
        for layer, network in enumerate(self.cells):
            states.append(network(token, (state["hidden"][:, layer], state["cell"][:, layer])))
            token = states[-1][0]
        hidden, cell = zip(*states, strict=True)
        return {"hidden": torch.stack(hidden, 1), "cell": torch.stack(cell, 1)}

    def _said(self, state: State) -> Float[Tensor, "row outputs"]:
        return self.output(state["hidden"][:, -1])
