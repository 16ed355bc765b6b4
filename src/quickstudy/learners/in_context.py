"""A transformer that learns in context: the support set is the prompt, and adapting is reading it.

Support examples are tokens of input and label that attend to one another; a query is a token of its input alone that
attends to the support and to nothing else. What the queries attend to, the keys and values of the support at every
layer, is φ: reading once, predicting many times.

Müller et al., "Transformers Can Do Bayesian Inference" (PFN), ICLR 2022; Kirsch et al., "General-Purpose In-Context
Learning by Meta-Learning Transformers", 2022.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from quickstudy.learners.attention import AttentionBlock, check_sizes
from quickstudy.learners.labels import LabelEmbedding
from quickstudy.learners.learner import Learner
from quickstudy.learners.phi import Phi
from quickstudy.networks import MLP, Policy, Statistics, as_network
from quickstudy.networks.network import expect_precision
from quickstudy.rebuild import register
from quickstudy.tasks.batch import Examples, Tree, masked_to_zero, whole_mask
from quickstudy.tasks.likelihood import Likelihood, Reduction, likelihood_for
from quickstudy.tasks.source import Kind

__all__ = ["InContextTransformer"]


@register
class InContextTransformer(Learner):
    """Attention over the support set as the learning algorithm.

    φ holds, for every layer, the keys and values `[task, layer, head, 1 + n, width / heads]` of a learned first token
    (what there is to attend to when the support is empty) and of the n support examples. The support has no order:
    there are no positions.

    `update` appends: new examples attend to those in φ and to one another, and the old ones stay as they were read.
    The result is that of a prompt read in two pieces, not that of adapting to everything at once.

    Args:
        network: turns an input into features; MLP or Conv4, say.
        likelihood: what the outputs mean; a Categorical must say its number of ways.
        width: length of a token.
        layers: transformer blocks.
        heads: attention heads; must divide `width`.
        dropout: of the residual branches, in training.
        reduction: mean or sum over query examples.

    Raises:
        ValueError: `width` is not a multiple of `heads`, a size is below one, or dropout is outside [0, 1).
    """

    def __init__(
        self,
        network: nn.Module,
        likelihood: Likelihood,
        width: int = 128,
        layers: int = 4,
        heads: int = 4,
        dropout: float = 0.0,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(likelihood, reduction)
        check_sizes(width, layers, heads, dropout)
        self.network = as_network(network)
        self.width, self.layers, self.heads, self.dropout = width, layers, heads, dropout
        self.input = nn.Linear(self.network.width, width)
        self.label = LabelEmbedding(likelihood, width)
        self.asked = nn.Parameter(torch.zeros(width))  # stands where a query's label would
        self.first = nn.Parameter(torch.randn(width) / width**0.5)
        self.blocks = nn.ModuleList(AttentionBlock(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.output = nn.Linear(width, likelihood.outputs)

    @classmethod
    def example(cls, kind: Kind, normalization: Policy) -> "InContextTransformer":
        return cls(MLP(6, (16,), normalization), likelihood_for(kind, 4), width=32, layers=2, heads=2)

    def _features(self, x: Tree, mask: Tensor, statistics: Statistics | None) -> tuple[Tensor, Statistics]:
        features, kept = self.network(x, mask, statistics)
        expect_precision(features, self.input)  # a network without weights takes any
        return features, kept

    def _tokens(self, examples: Examples, features: Tensor) -> Float[Tensor, "task n width"]:
        return self.input(features) + self.label(examples.y)

    def _read(self, tokens: Tensor, mask: Tensor, before: Phi | None) -> tuple[Tensor, Tensor, Tensor]:
        """Keys and values `[task, layer, head, m, …]` of `tokens`, after those in `before`, and which are real."""
        keys, values = [], []
        real = mask if before is None else torch.cat([before["real"], mask], 1)
        for layer, block in enumerate(self.blocks):
            assert isinstance(block, AttentionBlock)
            key, value = block.keys_and_values(tokens)
            if before is not None:
                key = torch.cat([before["keys"][:, layer], key], 2)
                value = torch.cat([before["values"][:, layer], value], 2)
            keys.append(key)
            values.append(value)
            if layer + 1 < self.layers:  # of the last block nothing is kept but what queries read
                tokens = block(tokens, key, value, real[:, None])
        return torch.stack(keys, 1), torch.stack(values, 1), real

    def _adapt(self, support: Examples, classes: Bool[Tensor, "task way"] | None) -> Phi:
        features, statistics = self._features(support.x, support.mask, None)
        tokens = self._tokens(support, features)
        tokens = torch.cat([self.first.expand(support.tasks, 1, -1).to(tokens.dtype), tokens], 1)
        keys, values, real = self._read(tokens, F.pad(support.mask, (1, 0), value=True), None)
        return {"keys": keys, "values": values, "real": real, "statistics": statistics}

    def _update(self, phi: Phi, examples: Examples) -> Phi:
        """φ after further examples, read as the continuation of the prompt."""
        features, _ = self._features(examples.x, examples.mask, phi["statistics"])
        keys, values, real = self._read(self._tokens(examples, features), examples.mask, phi)
        return {**phi, "keys": keys, "values": values, "real": real}

    @torch.no_grad()
    def attention(
        self, phi: Phi, x: Tree, mask: Bool[Tensor, "task n"] | None = None
    ) -> Float[Tensor, "task layer head n m"]:
        """How much each query reads, at every layer and head, of the learned first token and of the support.

        Args:
            phi: what `adapt` returned, for the same tasks.
            x: queries `[task, n, ...]`.
            mask: which of them are real; all by default.

        Raises:
            TypeError, ValueError: as `predict`.
        """
        self.outputs(phi, x, mask)  # refuses what is malformed
        mask = whole_mask("x", x) if mask is None else mask
        features, _ = self._features(masked_to_zero(x, mask), mask, phi["statistics"])
        tokens, seen = self.input(features) + self.asked, []
        for layer, block in enumerate(self.blocks):
            assert isinstance(block, AttentionBlock)
            key, value, visible = phi["keys"][:, layer], phi["values"][:, layer], phi["real"][:, None]
            seen.append(block.weights(tokens, key, visible))
            tokens = block(tokens, key, value, visible)
        return torch.stack(seen, 1)

    def _outputs(self, phi: Phi, x: Tree, mask: Bool[Tensor, "task n"]) -> Float[Tensor, "task n outputs"]:
        features, _ = self._features(x, mask, phi["statistics"])
        tokens = self.input(features) + self.asked
        for layer, block in enumerate(self.blocks):
            tokens = block(tokens, phi["keys"][:, layer], phi["values"][:, layer], phi["real"][:, None])
        return self.output(self.norm(tokens))
