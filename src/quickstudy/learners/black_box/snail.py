"""Temporal convolutions that gather what came before, and attention that finds it again: SNAIL.

The support is a sequence, and the query its last token. No layer looks ahead. Each puts what it finds beside its input
(and so all that came before it, as in a dense network), for token t of input u:

    convolution of dilation d:  [u_t,  tanh(W_f [u_t, u_{t−d}]) ⊙ sigmoid(W_g [u_t, u_{t−d}])]
    attention:                  [u_t,  Σ_{s ≤ t} softmax_s(q_t · k_s / √width) v_s]

Mishra et al., "A Simple Neural Attentive Meta-Learner", ICLR 2018.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
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

__all__ = ["SNAIL"]


@register
class SNAIL(Learner):
    """Blocks of dilated causal convolutions between causal attention, over the support in the order it stands in.

    Every query is the last token of a sequence of its own: it sees the support and itself. The support does not see
    it, so what a query needs is computed once. φ holds the `features` `[task, n, channel]` that the layers made of the
    support (they only add channels, so the first are the input of any layer), the `keys` and `values`
    `[task, attention, n, width]`, and the `count` `[task]` of real examples, which stand first.

    `update` reads old and new tokens together: the result is that of adapting to all of them (unless normalization
    takes statistics of the support, which stay those of the first).

    Dilations are 1, 2, 4, … here, so that a block reaches every token within `reach`; the paper's begin at 2.

    Args:
        network: turns an input into features; MLP or Conv4, say.
        likelihood: what the outputs mean; a Categorical must say its number of ways.
        width: of a token.
        filters: channels that a convolution adds.
        attention: width of keys and values, and channels that an attention adds.
        blocks: of convolutions, each followed by an attention; another attention comes first.
        reach: how many tokens, itself included, the convolutions of one block let a token see; as many as the support
            and the query have, say. Attention sees all.
        reduction: mean or sum over query examples.

    Raises:
        ValueError: a size below one, or a reach below two.
    """

    order_matters = True

    def __init__(
        self,
        network: nn.Module,
        likelihood: Likelihood,
        width: int = 64,
        filters: int = 32,
        attention: int = 32,
        blocks: int = 2,
        reach: int = 32,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(likelihood, reduction)
        check_whole(width=width, filters=filters, attention=attention, blocks=blocks, reach=reach)
        if min(width, filters, attention, blocks) < 1 or reach < 2:
            raise ValueError(
                "width, filters, attention and blocks must be at least 1 and reach at least 2, "
                f"got {width}, {filters}, {attention}, {blocks} and {reach}"
            )
        self.network = as_network(network)
        self.width, self.filters, self.attention, self.blocks, self.reach = width, filters, attention, blocks, reach
        self.input, self.label = nn.Linear(self.network.width, width), LabelEmbedding(likelihood, width)
        self.asked = nn.Parameter(torch.zeros(width))  # stands where a query's label would
        self.layers = nn.ModuleList([_Attention(width, attention)])
        channels = width + attention
        for _ in range(blocks):
            for power in range((reach - 1).bit_length()):
                self.layers.append(_Convolution(channels, filters, 2**power))
                channels += filters
            self.layers.append(_Attention(channels, attention))
            channels += attention
        self.output = nn.Linear(channels, likelihood.outputs)

    @classmethod
    def example(cls, kind: Kind, normalization: Policy) -> "SNAIL":
        network, likelihood = MLP(6, (16,), normalization), likelihood_for(kind, 4)
        return cls(network, likelihood, width=24, filters=8, attention=16, blocks=1, reach=8)

    def _read(self, tokens: Float[Tensor, "task n width"], mask: Bool[Tensor, "task n"]) -> Phi:
        """What the layers make of a support, its real tokens first."""
        features = real_first(tokens, mask)
        n, keys, values = features.shape[1], [], []
        earlier = torch.ones(n, n, dtype=torch.bool, device=features.device).tril(-1)[None]
        for layer in self.layers:
            if isinstance(layer, _Convolution):
                before = F.pad(features, (0, 0, layer.dilation, 0))[:, :n]
                features = layer(features, before)
            else:
                assert isinstance(layer, _Attention)
                own = layer.keys_and_values(features)
                features = layer(features, own, own, earlier)
                keys.append(own[0])
                values.append(own[1])
        return {
            "features": features,
            "keys": torch.stack(keys, 1),
            "values": torch.stack(values, 1),
            "count": mask.sum(1),
        }

    def _adapt(self, support: Examples, classes: Bool[Tensor, "task way"] | None) -> Phi:
        features, statistics = self.network(support.x, support.mask)
        tokens = self.input(features) + self.label(support.y)
        return {**self._read(tokens, support.mask), "statistics": statistics}

    def _update(self, phi: Phi, examples: Examples) -> Phi:
        features, _ = self.network(examples.x, examples.mask, phi["statistics"])
        tokens = torch.cat([phi["features"][..., : self.width], self.input(features) + self.label(examples.y)], 1)
        mask = torch.cat([_real(phi), examples.mask], 1)
        return {**phi, **self._read(tokens, mask)}

    def _outputs(self, phi: Phi, x: Tree, mask: Bool[Tensor, "task n"]) -> Float[Tensor, "task n outputs"]:
        features, _ = self.network(x, mask, phi["statistics"])
        features = self.input(features) + self.asked
        support = zip(phi["keys"].unbind(1), phi["values"].unbind(1), strict=True)
        for layer in self.layers:
            if isinstance(layer, _Convolution):
                known = phi["features"][..., : features.shape[-1]]
                before = at(known, phi["count"] - layer.dilation)[:, None].expand_as(features)
                features = layer(features, before)
            else:
                assert isinstance(layer, _Attention)
                own = layer.keys_and_values(features)
                features = layer(features, own, next(support), _real(phi)[:, None])
        return self.output(features)


class _Convolution(nn.Module):
    """A causal convolution of two taps, gated; its channels are put beside the input's."""

    def __init__(self, channels: int, filters: int, dilation: int) -> None:
        super().__init__()
        self.dilation = dilation
        self.taps = nn.Linear(2 * channels, 2 * filters)

    def forward(
        self, now: Float[Tensor, "task n channel"], before: Float[Tensor, "task n channel"]
    ) -> Float[Tensor, "task n more"]:
        found, gate = self.taps(torch.cat([now, before], -1)).chunk(2, -1)
        return torch.cat([now, torch.tanh(found) * torch.sigmoid(gate)], -1)


class _Attention(nn.Module):
    """Attention of each token to earlier ones and to itself; what it reads is put beside the input."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.query = nn.Linear(channels, width)
        self.key, self.value = nn.Linear(channels, width), nn.Linear(channels, width)
        with torch.no_grad():
            # Queries and keys begin alike and sharp, so that attention begins as similarity: see the in-context
            # transformer.
            self.query.weight *= 2
            self.key.weight.copy_(self.query.weight)

    def keys_and_values(self, x: Float[Tensor, "task n channel"]) -> tuple[Tensor, Tensor]:
        return self.key(x), self.value(x)

    def forward(
        self,
        x: Float[Tensor, "task n channel"],
        own: tuple[Tensor, Tensor],
        others: tuple[Tensor, Tensor],
        visible: Bool[Tensor, "#task #n m"],
    ) -> Float[Tensor, "task n more"]:
        """`own` are keys and values of x itself, `others` those `[task, m, width]` of what may be `visible` to it."""
        query = self.query(x) / self.query.out_features**0.5
        to_others = (query @ others[0].mT).masked_fill(~visible, -torch.inf)
        to_itself = (query * own[0]).sum(-1, keepdim=True)
        weights = torch.softmax(torch.cat([to_others, to_itself], -1), -1)
        return torch.cat([x, weights[..., :-1] @ others[1] + weights[..., -1:] * own[1]], -1)


def real_first(tokens: Float[Tensor, "task n width"], mask: Bool[Tensor, "task n"]) -> Float[Tensor, "task n width"]:
    """The same tokens, the real ones before the padding, in their order."""
    order = (~mask).to(torch.uint8).argsort(dim=1, stable=True)
    return tokens.gather(1, order[..., None].expand_as(tokens))


def at(sequence: Float[Tensor, "task n channel"], place: Int[Tensor, " task"]) -> Float[Tensor, "task channel"]:
    """One token of each task; zeros where the place is before the first."""
    longer = F.pad(sequence, (0, 0, 1, 0))
    index = (place + 1).clamp(min=0)[:, None, None].expand(-1, 1, sequence.shape[2])
    return longer.gather(1, index)[:, 0]


def _real(phi: Phi) -> Bool[Tensor, "task n"]:
    return torch.arange(phi["features"].shape[1], device=phi["count"].device) < phi["count"][:, None]
