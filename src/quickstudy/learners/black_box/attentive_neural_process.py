"""Attentive neural processes: each query reads the support for itself.

    r(x) = Σ_j a(x, x_j) v_j,   a = softmax over j of q(f(x)) · k(f(x_j)) / √d,   v = self-attention of e(f(x_j), y_j)
    p(y | x, D) from g(f(x), r(x), h),   h = 1/n Σ_j e'(f(x_j), y_j)

An average tells a query no more of a near example than of a far one, and so underfits even what was seen. Attention
gives the near one back.

Kim et al., "Attentive Neural Processes", ICLR 2019; without its latent variable, this is the conditional form. With it,
it is `AttentiveLatentNeuralProcess`.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from quickstudy.arguments import check_whole
from quickstudy.learners.black_box.conditioned import Condition, Conditioned
from quickstudy.learners.black_box.neural_process import Reader, masked_mean
from quickstudy.learners.learner import Learner
from quickstudy.learners.phi import Phi
from quickstudy.networks import MLP, Policy, as_network
from quickstudy.rebuild import register
from quickstudy.tasks.batch import Examples, Tree
from quickstudy.tasks.likelihood import Likelihood, Reduction, likelihood_for
from quickstudy.tasks.source import Kind

__all__ = ["AttentiveNeuralProcess", "AttentiveReader"]


@register
class AttentiveNeuralProcess(Learner):
    """A mean of the support, and attention to it by inputs: what is alike should have like labels.

    φ holds keys and values of a learned first example (what there is to attend to when the support is empty) and of
    the support, `[task, head, 1 + n, width / heads]`, and the mean h `[task, width]`.

    Args:
        network: turns an input into features; MLP or Conv4, say.
        likelihood: what the outputs mean; a Categorical must say its number of ways. For a predicted variance,
            `Gaussian(variance=None)`.
        width: of all layers, and of h.
        layers: hidden layers of each reader and of the decoder.
        heads: attention heads; must divide `width`.
        condition: how r and h enter g: beside the features (`concatenate`), or as scales and shifts of g's layers
            (`film`).
        reduction: mean or sum over query examples.

    Raises:
        ValueError: `width` is not a multiple of `heads`, a size is below one, or an unknown condition.
    """

    def __init__(
        self,
        network: nn.Module,
        likelihood: Likelihood,
        width: int = 128,
        layers: int = 2,
        heads: int = 8,
        condition: Condition = "concatenate",
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(likelihood, reduction)
        check_whole(width=width, layers=layers, heads=heads)
        if min(width, layers, heads) < 1 or width % heads:
            raise ValueError(
                "width, layers and heads must be positive and width a multiple of heads, "
                f"got {width}, {layers}, {heads}"
            )
        self.network = as_network(network)
        self.width, self.layers, self.heads, self.condition = width, layers, heads, condition
        self.mean_reader = Reader(self.network.width, likelihood, width, layers, width)
        self.attention = AttentiveReader(self.network.width, likelihood, width, layers, heads)
        self.decoder = Conditioned(self.network.width, 2 * width, width, layers, likelihood.outputs, condition)

    @classmethod
    def example(cls, kind: Kind, normalization: Policy) -> "AttentiveNeuralProcess":
        return cls(MLP(6, (16,), normalization), likelihood_for(kind, 4), width=32, layers=1, heads=2)

    def _adapt(self, support: Examples, classes: Bool[Tensor, "task way"] | None) -> Phi:
        features, statistics = self.network(support.x, support.mask)
        h = masked_mean(self.mean_reader(features, support.y), support.mask)
        return {**self.attention.look(features, support), "h": h, "statistics": statistics}

    def _outputs(self, phi: Phi, x: Tree, mask: Bool[Tensor, "task n"]) -> Float[Tensor, "task n outputs"]:
        features, _ = self.network(x, mask, phi["statistics"])
        read = self.attention(features, phi)
        h = phi["h"][:, None].expand(-1, features.shape[1], -1)
        return self.decoder(features, torch.cat([read, h], -1))


class AttentiveReader(nn.Module):
    """What each query reads of the support by itself: examples whose inputs are like its own.

    Args:
        features: length of the features.
        likelihood: what the labels are.
        width: of all layers, and of what is read.
        layers: hidden layers of the reader of examples.
        heads: attention heads; must divide `width`.
    """

    def __init__(self, features: int, likelihood: Likelihood, width: int, layers: int, heads: int) -> None:
        super().__init__()
        self.reader = Reader(features, likelihood, width, layers, width)
        self.among, self.across = _Attention(width, heads), _Attention(width, heads)
        self.place = nn.Sequential(nn.Linear(features, width), nn.ReLU(), nn.Linear(width, width))
        self.first_key = nn.Parameter(torch.randn(width) / width**0.5)
        self.first_value = nn.Parameter(torch.zeros(width))

    def look(self, features: Float[Tensor, "task n features"], support: Examples) -> Phi:
        """Keys and values, and which of them are real: of a learned first example, then of the support."""
        real = F.pad(support.mask, (1, 0), value=True)
        read = _after(self.first_value, self.reader(features, support.y))
        read = read + self.among(read, *self.among.keys_and_values(read, read), real)
        keys, values = self.across.keys_and_values(_after(self.first_key, self.place(features)), read)
        return {"keys": keys, "values": values, "real": real}

    def forward(self, features: Float[Tensor, "task n features"], phi: Phi) -> Float[Tensor, "task n width"]:
        return self.across(self.place(features), phi["keys"], phi["values"], phi["real"])


class _Attention(nn.Module):
    """Attention of several heads, whose keys and values are made apart from its queries."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        with torch.no_grad():
            # Attention begins as similarity, and sharp, as in `InContextTransformer`.
            self.query.weight *= 2
            self.key.weight.copy_(self.query.weight)
        self.merge = nn.Linear(width, width)

    def _split(self, x: Float[Tensor, "task n width"]) -> Float[Tensor, "task head n part"]:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def keys_and_values(
        self, by: Float[Tensor, "task n width"], what: Float[Tensor, "task n width"]
    ) -> tuple[Tensor, Tensor]:
        """What is looked at and what is then read, `[task, head, n, width / heads]` each."""
        return self._split(self.key(by)), self._split(self.value(what))

    def forward(
        self, asking: Float[Tensor, "task n width"], key: Tensor, value: Tensor, real: Bool[Tensor, "task m"]
    ) -> Float[Tensor, "task n width"]:
        query = self._split(self.query(asking))
        read = F.scaled_dot_product_attention(query, key, value, attn_mask=real[:, None, None])
        return self.merge(read.transpose(1, 2).flatten(2))


def _after(first: Float[Tensor, " width"], others: Float[Tensor, "task n width"]) -> Float[Tensor, "task m width"]:
    return torch.cat([first.expand(others.shape[0], 1, -1).to(others.dtype), others], 1)
