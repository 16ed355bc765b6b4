"""Decoders: predictions for inputs from what was read of a task."""

from typing import Literal, TypeAlias, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["Condition", "Conditioned"]

Condition: TypeAlias = Literal["concatenate", "film"]


class Conditioned(nn.Module):
    """An MLP on features, whose output depends on a context.

    `concatenate` puts the context beside the features. `film` lets it scale and shift every hidden layer:
    h ← h (1 + γ(c)) + β(c) (Perez et al., "FiLM", AAAI 2018).

    Args:
        features: length of the features.
        context: length of the context.
        width: of the hidden layers.
        layers: how many of them.
        outputs: length of the output.
        condition: how the context enters.

    Raises:
        ValueError: an unknown condition.
    """

    def __init__(
        self, features: int, context: int, width: int, layers: int, outputs: int, condition: Condition = "concatenate"
    ) -> None:
        super().__init__()
        if condition not in get_args(Condition):
            raise ValueError(f"condition must be one of {', '.join(get_args(Condition))}, got {condition!r}")
        first = features + context if condition == "concatenate" else features
        self.hidden = nn.ModuleList(nn.Linear(width if layer else first, width) for layer in range(layers))
        self.film = nn.ModuleList(nn.Linear(context, 2 * width) for _ in range(layers if condition == "film" else 0))
        self.output = nn.Linear(width, outputs)

    def forward(
        self, features: Float[Tensor, "task n features"], context: Float[Tensor, "task n context"]
    ) -> Float[Tensor, "task n outputs"]:
        hidden = features if len(self.film) else torch.cat([features, context], -1)
        for number, layer in enumerate(self.hidden):
            hidden = layer(hidden)
            if len(self.film):
                scale, shift = self.film[number](context).chunk(2, -1)
                hidden = hidden * (1 + scale) + shift
            hidden = F.relu(hidden)
        return self.output(hidden)
