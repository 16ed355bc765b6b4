"""A decoder that learns in context: examples are a text of inputs and labels, x₁ y₁ x₂ y₂ …, read from left to right.

    loss = 1 / (n + q) · (Σ_{j ≤ n} −log p(y_j | x_1, y_1, …, x_{j−1}, y_{j−1}, x_j) + Σ_query −log p(y | S, x))

A token attends to those before it and to itself, and at the token of an input stands the prediction of its label. So
one pass over the support gives a prediction after every prefix of it, and training learns from all of them.

Garg, Tsipras, Liang & Valiant, "What Can Transformers Learn In-Context? A Case Study of Simple Function Classes",
NeurIPS 2022; the decoder is that of Radford et al., "Language Models are Unsupervised Multitask Learners", 2019.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from quickstudy.arguments import check_flag, check_whole
from quickstudy.learners.attention import AttentionBlock, check_sizes
from quickstudy.learners.labels import LabelEmbedding
from quickstudy.learners.learner import Learner
from quickstudy.learners.phi import Phi
from quickstudy.networks import MLP, Policy, Statistics, as_network
from quickstudy.networks.network import expect_precision
from quickstudy.rebuild import register
from quickstudy.tasks.batch import Examples, TaskBatch, Tree
from quickstudy.tasks.likelihood import Likelihood, Reduction, likelihood_for, reduced
from quickstudy.tasks.source import Kind

__all__ = ["DecoderTransformer"]


@register
class DecoderTransformer(Learner):
    """Causal attention over interleaved inputs and labels as the learning algorithm.

    φ holds, for every layer, the keys and values `[task, layer, head, 2 n, width / heads]` of the tokens of the
    support. A query goes on from there, alone: its token attends to the support and to itself. `update` reads on, and
    the result is that of adapting to old and new examples together.

    In training the loss of a task is averaged over the predictions of its support examples, each from those before it,
    and those of its queries, each from the whole support. Scores and `log_prob` are of the queries alone.

    That a prediction knows nothing of what follows needs a network that treats every example by itself: normalize it
    with `none` or `layer`. Under `support`, its statistics are of the whole support.

    Args:
        network: turns an input into features; MLP or Conv4, say.
        likelihood: what the outputs mean; a Categorical must say its number of ways.
        width: length of a token.
        layers: transformer blocks.
        heads: attention heads; must divide `width`.
        positions: how many places in the order have a learned vector, which both tokens of an example get; a support
            must be shorter. None for no positions: the order is then known by who sees whom.
        paired: the token of a label carries its input too; otherwise that belongs to what is to be learned, as in the
            paper.
        dropout: of the residual branches, in training.
        reduction: mean or sum over examples, of the support and of the query.

    Raises:
        ValueError: `width` is not a multiple of `heads`, a size is below one, or dropout is outside [0, 1).
    """

    order_matters = True

    def __init__(
        self,
        network: nn.Module,
        likelihood: Likelihood,
        width: int = 128,
        layers: int = 4,
        heads: int = 4,
        positions: int | None = None,
        paired: bool = False,
        dropout: float = 0.0,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(likelihood, reduction)
        check_sizes(width, layers, heads, dropout)
        check_flag(paired=paired)
        if positions is not None:
            check_whole(positions=positions)
            if positions < 1:
                raise ValueError(f"positions must be None or at least 1, got {positions}")
        self.network = as_network(network)
        self.width, self.layers, self.heads, self.dropout = width, layers, heads, dropout
        self.positions, self.paired = positions, paired
        self.input = nn.Linear(self.network.width, width)
        self.label = LabelEmbedding(likelihood, width)
        self.place = None if positions is None else nn.Embedding(positions, width)
        self.blocks = nn.ModuleList(AttentionBlock(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.output = nn.Linear(width, likelihood.outputs)

    @classmethod
    def example(cls, kind: Kind, normalization: Policy) -> "DecoderTransformer":
        return cls(MLP(6, (16,), normalization), likelihood_for(kind, 4), width=32, layers=2, heads=2, paired=True)

    def _features(self, x: Tree, mask: Tensor, statistics: Statistics | None) -> tuple[Tensor, Statistics]:
        features, kept = self.network(x, mask, statistics)
        expect_precision(features, self.input)  # a network without weights takes any
        return features, kept

    def _placed(self, tokens: Float[Tensor, "task n width"], number: Int[Tensor, "task n"]) -> Tensor:
        """Tokens that know the number of their example."""
        if self.place is None:
            return tokens
        assert self.positions is not None
        if self._may_look and number.numel() and int(number.max()) >= self.positions:
            raise ValueError(
                f"support has {int(number.max())} examples or more in a task, and the learner has positions for "
                f"{self.positions - 1} and a query; build it with more, or with positions=None"
            )
        return tokens + self.place(number.clamp(0, self.positions - 1))

    def _text(
        self, examples: Examples, features: Tensor, seen: Int[Tensor, " task"]
    ) -> tuple[Float[Tensor, "task n width"], Bool[Tensor, "task n"], Bool[Tensor, "task n n"]]:
        """x₁ y₁ x₂ y₂ … after `seen` examples; which tokens are real, and which of them each sees."""
        number = seen[:, None] + examples.mask.cumsum(1) - examples.mask.long()
        asked, label = self.input(features), self.label(examples.y)
        pair = [self._placed(tokens, number) for tokens in (asked, label + asked if self.paired else label)]
        mask = examples.mask.repeat_interleave(2, 1)
        length = mask.shape[1]
        causal = torch.ones(length, length, dtype=torch.bool, device=mask.device).tril()
        # Padding sees itself, so that it sees something.
        visible = causal & mask[:, None] | torch.eye(length, dtype=torch.bool, device=mask.device)
        return torch.stack(pair, 2).flatten(1, 2), mask, visible

    def _read(self, examples: Examples, features: Tensor, before: Phi) -> Phi:
        """φ after `examples`."""
        tokens, mask, own = self._text(examples, features, before["real"].sum(1) // 2)
        visible = torch.cat([before["real"][:, None].expand(-1, mask.shape[1], -1), own], 2)
        keys, values = [], []
        for layer, block in enumerate(self.blocks):
            assert isinstance(block, AttentionBlock)
            new = block.keys_and_values(tokens)
            key, value = (torch.cat([before[name][:, layer], part], 2) for name, part in zip(_CACHE, new, strict=True))
            keys.append(key)
            values.append(value)
            if layer + 1 < self.layers:  # of the last block nothing is kept but what others read
                tokens = block(tokens, key, value, visible)
        phi = {"keys": torch.stack(keys, 1), "values": torch.stack(values, 1)}
        return {**before, **phi, "real": torch.cat([before["real"], mask], 1)}

    def _adapt(self, support: Examples, classes: Bool[Tensor, "task way"] | None) -> Phi:
        features, statistics = self._features(support.x, support.mask, None)
        part = (support.tasks, self.layers, self.heads, 0, self.width // self.heads)
        nothing = self.output.weight.new_zeros(part)
        start = {"keys": nothing, "values": nothing, "real": support.mask[:, :0], "statistics": statistics}
        return self._read(support, features, start)

    def _update(self, phi: Phi, examples: Examples) -> Phi:
        """φ after further examples, read as the continuation of the text."""
        features, _ = self._features(examples.x, examples.mask, phi["statistics"])
        return self._read(examples, features, phi)

    def _outputs(self, phi: Phi, x: Tree, mask: Bool[Tensor, "task n"]) -> Float[Tensor, "task n outputs"]:
        features, _ = self._features(x, mask, phi["statistics"])
        tokens = self.input(features)
        tasks, asked = tokens.shape[:2]
        tokens = self._placed(tokens, phi["real"].sum(1)[:, None].expand(-1, asked) // 2)
        itself = torch.eye(asked, dtype=torch.bool, device=tokens.device).expand(tasks, -1, -1)
        visible = torch.cat([phi["real"][:, None].expand(-1, asked, -1), itself], 2)
        for layer, block in enumerate(self.blocks):
            assert isinstance(block, AttentionBlock)
            own = block.keys_and_values(tokens)
            key, value = (torch.cat([phi[name][:, layer], part], 2) for name, part in zip(_CACHE, own, strict=True))
            tokens = block(tokens, key, value, visible)
        return self.output(self.norm(tokens))

    def _said(self, support: Examples, query: Examples) -> Float[Tensor, "task n outputs"]:
        """Outputs for every example of the support, given those before it, and for every query, given all of them.

        In one pass over the text and the queries, each of which sees the text and itself. In the last block labels are
        read, and read nothing themselves: no prediction stands at their tokens.
        """
        features, statistics = self._features(support.x, support.mask, None)
        tokens, mask, own = self._text(support, features, torch.zeros_like(support.count))
        length, asked = tokens.shape[1], query.mask.shape[1]
        features, _ = self._features(query.x, query.mask, statistics)
        last = self._placed(self.input(features), support.count[:, None].expand(-1, asked))
        itself = torch.eye(asked, dtype=torch.bool, device=mask.device).expand(len(mask), -1, -1)
        seen = torch.cat([mask[:, None].expand(-1, asked, -1), itself], 2)
        visible = torch.cat([F.pad(own, (0, asked)), seen], 1)
        tokens = torch.cat([tokens, last], 1)
        for layer, block in enumerate(self.blocks, 1):
            assert isinstance(block, AttentionBlock)
            key, value = block.keys_and_values(tokens)
            if layer == self.layers:
                tokens, visible = (
                    torch.cat([those[:, :length:2], those[:, length:]], 1) for those in (tokens, visible)
                )
            tokens = block(tokens, key, value, visible)
        return self.output(self.norm(tokens))

    def forward(self, batch: TaskBatch) -> Float[Tensor, " task"]:
        """The loss of every task, over all prefixes of its support: that at the head of this file.

        Raises:
            TypeError, ValueError: the batch is malformed.
        """
        batch.check()
        support, classes = self._ready(batch.support, batch.classes)
        query = self._checked("query", batch.query)
        self._check_values("query", query, classes)
        y, real = torch.cat([support.y, query.y], 1), torch.cat([support.mask, query.mask], 1)
        loss = -self.likelihood.distribution(self._said(support, query), classes).log_prob(y)
        return self._per_example(reduced(loss, real, "sum"), real)


_CACHE = ("keys", "values")
