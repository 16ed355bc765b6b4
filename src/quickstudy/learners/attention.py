"""The block of which transformers over a support set are made, and what their sizes may be.

    t ← t + W_o softmax(Q K' / √d) V,   t ← t + MLP(norm(t))

Vaswani et al., "Attention Is All You Need", NeurIPS 2017; normalized before each part as in Radford et al., "Language
Models are Unsupervised Multitask Learners", 2019.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from quickstudy.arguments import check_real, check_whole

__all__ = ["AttentionBlock", "check_sizes"]


def check_sizes(width: int, layers: int, heads: int, dropout: float) -> None:
    """Refuse sizes of which no transformer can be made.

    Raises:
        TypeError, ValueError: a number of another type or out of range, or heads that do not divide the width.
    """
    check_whole(width=width, layers=layers, heads=heads)
    check_real(dropout=dropout)
    if min(width, layers, heads) < 1 or width % heads:
        raise ValueError(
            f"width, layers and heads must be positive and width a multiple of heads, got {width}, {layers}, {heads}"
        )
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout must lie in [0, 1), got {dropout}")


class AttentionBlock(nn.Module):
    """A pre-norm transformer block whose keys and values are made apart from its queries.

    Args:
        width: length of a token.
        heads: attention heads; must divide `width`.
        dropout: of the residual branches, in training.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        with torch.no_grad():
            # Queries and keys begin alike and sharp, so that attention begins as similarity. From independent ones,
            # episodes of five letters stay at chance for hundreds of steps; from these they are learned at once
            # (600 steps of 8 tasks on glyphs: 21% against 86%).
            self.query.weight *= 2
            self.key_value.weight[:width] = self.query.weight
        self.merge = nn.Linear(width, width)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )
        self.dropout = nn.Dropout(dropout)

    def _split(self, x: Float[Tensor, "task n width"]) -> Float[Tensor, "task head n part"]:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def keys_and_values(self, tokens: Float[Tensor, "task n width"]) -> tuple[Tensor, Tensor]:
        """What others attend to of these tokens, `[task, head, n, width / heads]` each."""
        key, value = self.key_value(self.norm(tokens)).chunk(2, -1)
        return self._split(key), self._split(value)

    def weights(
        self, tokens: Float[Tensor, "task n width"], key: Tensor, visible: Bool[Tensor, "task _ m"]
    ) -> Float[Tensor, "task head n m"]:
        """How much each token reads of each value that is visible to it: to be looked at, `forward` does without."""
        query = self._split(self.query(self.norm(tokens)))
        scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
        return scores.masked_fill(~visible[:, None], float("-inf")).softmax(-1)

    def forward(
        self, tokens: Float[Tensor, "task n width"], key: Tensor, value: Tensor, visible: Bool[Tensor, "task _ m"]
    ) -> Float[Tensor, "task n width"]:
        """The tokens after they have read, each of them, the values that are visible to it.

        Args:
            tokens: what reads.
            key, value: what is read, `[task, head, m, width / heads]`.
            visible: which of them each token may see; a token must see one at least.
        """
        query = self._split(self.query(self.norm(tokens)))
        read = F.scaled_dot_product_attention(query, key, value, attn_mask=visible[:, None])
        tokens = tokens + self.dropout(self.merge(read.transpose(1, 2).flatten(2)))
        return tokens + self.dropout(self.feed_forward(tokens))
