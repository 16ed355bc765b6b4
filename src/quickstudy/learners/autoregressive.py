"""The autoregressive transformer neural process: queries are answered one after another, in one pass.

    log p(y_1 … y_n | x, D) = Σ_i log p(y_i | x_i, D, (x_1, y_1) … (x_{i−1}, y_{i−1}))

Every query stands twice in the sequence: as a token of its input alone, from which it is predicted, and as a token of
input and label, which later queries read. Both see the support and the answered queries before them.

Nguyen & Grover, "Transformer Neural Processes: Uncertainty-Aware Meta Learning via Sequence Modeling" (TNP-A), ICML
2022.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from quickstudy.learners.attention import AttentionBlock
from quickstudy.learners.in_context import InContextTransformer
from quickstudy.learners.phi import Phi
from quickstudy.rebuild import register
from quickstudy.tasks.batch import Examples
from quickstudy.tasks.likelihood import reduced

__all__ = ["AutoregressiveTransformer"]


@register
class AutoregressiveTransformer(InContextTransformer):
    """An in-context transformer that predicts queries together.

    φ and `predict` are those of `InContextTransformer`: each query alone, given the support. `log_prob`, and so the
    loss, is that of all queries of a task in the order in which they stand. `update` reads examples in the same way, so
    that answering, updating and answering again is the same chain
    (`quickstudy.evaluation.joint_log_prob` by `update` is `log_prob`).

    A loop that answers one and reads it asks of every query what training has taught of it; the order of the queries
    matters a little, and in training it is random as the tasks are.

    Arguments as of `InContextTransformer`.
    """

    def log_prob(self, phi: Phi, query: Examples) -> Float[Tensor, " task"]:
        """log p(query.y given query.x, φ) of all real examples of a task, each given those before it.

        Raises:
            TypeError, ValueError: the query is malformed, or of another form than the likelihood's.
        """
        query, classes = self._ready_query(phi, query)
        features, _ = self._features(query.x, query.mask, phi["statistics"])
        asked = self.input(features) + self.asked
        said = self._chain(phi, self._tokens(query, features), query.mask, asked)[2]
        prediction = self.likelihood.distribution(said, classes)
        return reduced(prediction.log_prob(query.y), query.mask, "sum")

    def _update(self, phi: Phi, examples: Examples) -> Phi:
        """φ after further examples, each of which has read those before it."""
        features, _ = self._features(examples.x, examples.mask, phi["statistics"])
        tokens = self._tokens(examples, features)
        keys, values, _ = self._chain(phi, tokens, examples.mask, tokens[:, :0])
        real = torch.cat([phi["real"], examples.mask], 1)
        return {
            **phi,
            "keys": torch.cat([phi["keys"], keys], 3),
            "values": torch.cat([phi["values"], values], 3),
            "real": real,
        }

    def _chain(
        self,
        phi: Phi,
        answered: Float[Tensor, "task n width"],
        mask: Bool[Tensor, "task n"],
        asked: Float[Tensor, "task m width"],
    ) -> tuple[Tensor, Tensor, Float[Tensor, "task m outputs"]]:
        """Keys and values `[task, layer, head, n, …]` of the answered queries, and what is said to those asked.

        An answered query sees itself and those before it, an asked one only those before it.
        """
        n, m = answered.shape[1], asked.shape[1]
        place = torch.arange(n, device=mask.device)
        itself = place[:, None] == place
        before = (place[None] < place[:, None]) & mask[:, None]
        seen = torch.cat([before | itself, before[:, :m]], 1)
        visible = torch.cat([phi["real"][:, None].expand(-1, n + m, -1), seen], 2)
        keys, values = [], []
        for layer, block in enumerate(self.blocks):
            assert isinstance(block, AttentionBlock)
            key, value = block.keys_and_values(answered)
            keys.append(key)
            values.append(value)
            read = (torch.cat([phi[name][:, layer], own], 2) for name, own in (("keys", key), ("values", value)))
            if layer + 1 < self.layers:
                answered, asked = block(torch.cat([answered, asked], 1), *read, visible).split([n, m], 1)
            else:  # of the last block nothing is kept of the answered but what others read
                asked = block(asked, *read, visible[:, n:])
        return torch.stack(keys, 1), torch.stack(values, 1), self.output(self.norm(asked))
