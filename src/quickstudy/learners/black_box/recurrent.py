"""A recurrent network as the learning algorithm: it reads the support one example after the other.

    s_0 learned,   s_j = LSTM(s_{j−1}, [f(x_j), y_j]),   p(y | x, D) from LSTM(s_n, [f(x), no label])

φ is the state after the support. Every query is read from there, alone.

Hochreiter, Younger & Conwell, "Learning to Learn Using Gradient Descent", ICANN 2001; Santoro et al., "Meta-Learning
with Memory-Augmented Neural Networks", ICML 2016, where it is the network without external memory.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from quickstudy.arguments import check_whole
from quickstudy.learners.labels import LabelEmbedding
from quickstudy.learners.learner import Learner
from quickstudy.learners.phi import Phi
from quickstudy.networks import MLP, Policy, as_network
from quickstudy.rebuild import register
from quickstudy.tasks.batch import Examples, Tree
from quickstudy.tasks.likelihood import Likelihood, Reduction, likelihood_for
from quickstudy.tasks.source import Kind

__all__ = ["RecurrentLearner"]


@register
class RecurrentLearner(Learner):
    """Long short-term memory over the support, in the order in which it stands.

    φ holds the hidden and the cell state of every layer, `[task, layer, width]` each. `update` reads on, so the result
    is that of adapting to old and new examples together (unless normalization takes statistics of the support, which
    stay those of the first). Where a support has no order, episodes should shuffle it, as all sources here do: a set
    method need not learn that order means nothing.

    Args:
        network: turns an input into features; MLP or Conv4, say.
        likelihood: what the outputs mean; a Categorical must say its number of ways.
        width: of the state.
        layers: how many networks read one above the other.
        reduction: mean or sum over query examples.

    Raises:
        ValueError: a size below one.
    """

    order_matters = True

    def __init__(
        self,
        network: nn.Module,
        likelihood: Likelihood,
        width: int = 128,
        layers: int = 1,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(likelihood, reduction)
        check_whole(width=width, layers=layers)
        if min(width, layers) < 1:
            raise ValueError(f"width and layers must be at least 1, got {width} and {layers}")
        self.network = as_network(network)
        self.width, self.layers = width, layers
        self.input, self.label = nn.Linear(self.network.width, width), LabelEmbedding(likelihood, width)
        self.asked = nn.Parameter(torch.zeros(width))  # stands where a query's label would
        self.cells = nn.ModuleList(nn.LSTMCell(width, width) for _ in range(layers))
        self.first_hidden = nn.Parameter(torch.zeros(layers, width))
        self.first_cell = nn.Parameter(torch.zeros(layers, width))
        self.output = nn.Linear(width, likelihood.outputs)

    @classmethod
    def example(cls, kind: Kind, normalization: Policy) -> "RecurrentLearner":
        return cls(MLP(6, (16,), normalization), likelihood_for(kind, 4), width=24)

    def _step(
        self, token: Float[Tensor, "row width"], hidden: Tensor, cell: Tensor
    ) -> tuple[Float[Tensor, "row layer width"], Float[Tensor, "row layer width"]]:
        """The states `[row, layer, width]` after one more token."""
        states = []
        for layer, network in enumerate(self.cells):
            states.append(network(token, (hidden[:, layer], cell[:, layer])))
            token = states[-1][0]
        after, kept = zip(*states, strict=True)
        return torch.stack(after, 1), torch.stack(kept, 1)

    def _read(self, examples: Examples, features: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        tokens = self.input(features) + self.label(examples.y)
        for place in range(tokens.shape[1]):
            after, kept = self._step(tokens[:, place], hidden, cell)
            real = examples.mask[:, place, None, None]  # padding may stand anywhere
            hidden, cell = torch.where(real, after, hidden), torch.where(real, kept, cell)
        return hidden, cell

    def _adapt(self, support: Examples, classes: Bool[Tensor, "task way"] | None) -> Phi:
        features, statistics = self.network(support.x, support.mask)
        start = (state.expand(support.tasks, -1, -1) for state in (self.first_hidden, self.first_cell))
        hidden, cell = self._read(support, features, *start)
        return {"hidden": hidden, "cell": cell, "statistics": statistics}

    def _update(self, phi: Phi, examples: Examples) -> Phi:
        features, _ = self.network(examples.x, examples.mask, phi["statistics"])
        hidden, cell = self._read(examples, features, phi["hidden"], phi["cell"])
        return {**phi, "hidden": hidden, "cell": cell}

    def _outputs(self, phi: Phi, x: Tree, mask: Bool[Tensor, "task n"]) -> Float[Tensor, "task n outputs"]:
        features, _ = self.network(x, mask, phi["statistics"])
        tokens = self.input(features) + self.asked
        # Every query goes on from the state after the support, as if it were the only one.
        rows = tokens.flatten(0, 1)
        hidden, cell = (
            state[:, None].expand(-1, tokens.shape[1], -1, -1).flatten(0, 1) for state in (phi["hidden"], phi["cell"])
        )
        return self.output(self._step(rows, hidden, cell)[0][:, -1]).unflatten(0, tokens.shape[:2])
