"""A convolutional network along the support: one vector comes out, whatever its length.

    u⁰_j = [f(x_j), y_j],   u^{l+1} = u^l + V_l ReLU(W_l ∗_d u^l),   h = mean_j u^L_j,   p(y | x, D) from g(f(x), h)

with the convolution ∗_d over the order of the examples, of width three and of dilation d = 1, 2, 4, … from layer to
layer. φ = {h, what all tasks share}, as with a conditional neural process, whose readers see one example at a time.

Dilated residual stacks: Yu & Koltun, "Multi-Scale Context Aggregation by Dilated Convolutions", ICLR 2016; as
meta-learners: Mishra et al., "Meta-Learning with Temporal Convolutions", 2017 (where the query is in the sequence).
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from quickstudy.arguments import check_whole
from quickstudy.learners.black_box.conditioned import Condition, Conditioned
from quickstudy.learners.black_box.neural_process import masked_mean
from quickstudy.learners.black_box.snail import real_first
from quickstudy.learners.labels import LabelEmbedding
from quickstudy.learners.learner import Learner
from quickstudy.learners.phi import Phi
from quickstudy.networks import MLP, Policy, as_network
from quickstudy.rebuild import register
from quickstudy.tasks.batch import Examples, Tree
from quickstudy.tasks.likelihood import Likelihood, Reduction, likelihood_for
from quickstudy.tasks.source import Kind

__all__ = ["ConvolutionalReader"]


@register
class ConvolutionalReader(Learner):
    """Dilated convolutions over the support in the order it stands in, averaged, and a decoder for the queries.

    φ holds the average h `[task, width]`. Examples see both what stands before and what stands after them, so φ cannot
    be read on.

    Args:
        network: turns an input into features; MLP or Conv4, say.
        likelihood: what the outputs mean; a Categorical must say its number of ways.
        width: of a token, of the convolutions, of h, and of the decoder's hidden layers.
        layers: convolutions; the last of them lets an example see 2^layers − 1 others on either side.
        decoder_layers: hidden layers of the decoder g.
        condition: how h enters g: beside the features (`concatenate`), or as scales and shifts of g's layers (`film`).
        reduction: mean or sum over query examples.

    Raises:
        ValueError: a size below one, more than 16 layers, or an unknown condition.
    """

    order_matters = True

    def __init__(
        self,
        network: nn.Module,
        likelihood: Likelihood,
        width: int = 128,
        layers: int = 4,
        decoder_layers: int = 2,
        condition: Condition = "concatenate",
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(likelihood, reduction)
        check_whole(width=width, layers=layers, decoder_layers=decoder_layers)
        if min(width, layers, decoder_layers) < 1 or layers > 16:
            raise ValueError(
                "width, layers and decoder_layers must be at least 1 and layers at most 16, "
                f"got {width}, {layers} and {decoder_layers}"
            )
        self.network = as_network(network)
        self.width, self.layers, self.decoder_layers, self.condition = width, layers, decoder_layers, condition
        self.input, self.label = nn.Linear(self.network.width, width), LabelEmbedding(likelihood, width)
        self.reader = nn.ModuleList(_Residual(width, 2**layer) for layer in range(layers))
        self.decoder = Conditioned(self.network.width, width, width, decoder_layers, likelihood.outputs, condition)

    @classmethod
    def example(cls, kind: Kind, normalization: Policy) -> "ConvolutionalReader":
        network, likelihood = MLP(6, (16,), normalization), likelihood_for(kind, 4)
        return cls(network, likelihood, width=32, layers=2, decoder_layers=1, condition="film")

    def _adapt(self, support: Examples, classes: Bool[Tensor, "task way"] | None) -> Phi:
        features, statistics = self.network(support.x, support.mask)
        tokens = real_first(self.input(features) + self.label(support.y), support.mask)
        # One place more: no convolution takes a sequence without any.
        tokens, real = F.pad(tokens, (0, 0, 0, 1)), F.pad(support.mask.sort(1, descending=True).values, (0, 1))
        for layer in self.reader:
            tokens = layer(tokens, real)
        return {"h": masked_mean(tokens, real), "statistics": statistics}

    def _outputs(self, phi: Phi, x: Tree, mask: Bool[Tensor, "task n"]) -> Float[Tensor, "task n outputs"]:
        features, _ = self.network(x, mask, phi["statistics"])
        return self.decoder(features, phi["h"][:, None].expand(-1, features.shape[1], -1))


class _Residual(nn.Module):
    """A convolution of three taps and a map back, added to what came in."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.gather = nn.Conv1d(width, width, 3, padding=dilation, dilation=dilation)
        self.back = nn.Linear(width, width)

    def forward(
        self, tokens: Float[Tensor, "task n width"], real: Bool[Tensor, "task n"]
    ) -> Float[Tensor, "task n width"]:
        # Zeros stand beyond the last real example, as they do before the first.
        inside = torch.where(real[..., None], tokens, 0.0)
        found = F.relu(self.gather(inside.transpose(1, 2))).transpose(1, 2)
        return tokens + self.back(found)
