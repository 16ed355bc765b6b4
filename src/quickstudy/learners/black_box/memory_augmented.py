"""A recurrent network with an external memory, which it reads by content and writes where memory is used least.

With a controller c_t = LSTM(c_{t−1}, [token_t, r_{t−1}]), from which comes a key k_t, and a memory M of slots i:

    w^lu_{t−1}(i) = 1 where w^u_{t−1}(i) ≤ the n-th smallest of w^u_{t−1}, else 0        least used
    w^w_t = σ(α) w^r_{t−1} + (1 − σ(α)) w^lu_{t−1}                                        where to write
    M_t(i) = M_{t−1}(i) [0 in the least used slots] + w^w_t(i) k_t
    w^r_t(i) = softmax_i cos(k_t, M_t(i)),   r_t = Σ_i w^r_t(i) M_t(i)                    content that is read
    w^u_t = γ w^u_{t−1} + w^r_t + w^w_t                                                   usage, which decays

and the outputs are a linear map of [c_t, r_t]. n is the number of reads.

Santoro et al., "Meta-Learning with Memory-Augmented Neural Networks", ICML 2016 (least recently used access).
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from quickstudy.arguments import check_real, check_whole
from quickstudy.learners.black_box.one_by_one import Labels, OneByOne, State
from quickstudy.networks import MLP, Policy
from quickstudy.rebuild import register
from quickstudy.tasks.likelihood import Likelihood, Reduction, likelihood_for
from quickstudy.tasks.source import Kind

__all__ = ["MemoryAugmentedNetwork"]

# Under the root of a squared length: the cosine to an empty slot is zero, and so has a slope.
_TINY = 1e-12


@register
class MemoryAugmentedNetwork(OneByOne):
    """The support is written to a memory that the network has beside its state, and queries read from it.

    φ holds the controller's `hidden` and `cell` state `[task, width]`, the `memory` `[task, slots, slot_width]`, what
    the heads last read, `read` `[task, head, slot_width]`, where, `reading` `[task, head, slots]`, and the `usage`
    `[task, slots]`; with shifted labels (the paper's) also the `label` `[task, width]` that is to come with the query,
    embedded. Memory, reads and usage begin as zeros. `update` reads on.

    Which slots are used least is no differentiable question: no gradient flows through the usage, as in the paper.
    With several heads, each has a key and a gate α of its own, and writes to one of the n least used slots: the first
    head to the least used. (The paper's equation leaves open how they share these slots.) Among slots that are used
    alike, the first counts as used least.

    Args:
        network: turns an input into features; MLP or Conv4, say.
        likelihood: what the outputs mean; a Categorical must say its number of ways.
        width: of the controller's state, and of a token.
        slots: of the memory.
        slot_width: numbers in each.
        heads: reads, and writes, of each step; at most as many as there are slots.
        decay: γ, of the usage.
        scale: multiplies the cosines before the softmax. The paper has none (1): with many slots, reading is then
            blurred, as a cosine can do no more than outweigh another e² times.
        labels: `beside` their inputs, or `shifted` to the input that follows: an input is then seen before its label,
            and a query comes with the last label of the support.
        reduction: mean or sum over query examples.

    Raises:
        ValueError: a size below one, more heads than slots, a decay outside [0, 1], a scale that is not positive,
            or an unknown place of labels.
    """

    def __init__(
        self,
        network: nn.Module,
        likelihood: Likelihood,
        width: int = 128,
        slots: int = 128,
        slot_width: int = 40,
        heads: int = 1,
        decay: float = 0.99,
        scale: float = 1.0,
        labels: Labels = "beside",
        reduction: Reduction = "mean",
    ) -> None:
        check_whole(width=width, slots=slots, slot_width=slot_width, heads=heads)
        check_real(decay=decay, scale=scale)
        if min(width, slots, slot_width, heads) < 1 or heads > slots:
            raise ValueError(
                "width, slots, slot_width and heads must be at least 1 and heads at most slots, "
                f"got {width}, {slots}, {slot_width} and {heads}"
            )
        if not 0 <= decay <= 1 or not scale > 0:
            raise ValueError(f"decay must lie in [0, 1] and scale be positive, got {decay} and {scale}")
        super().__init__(network, likelihood, width, labels, reduction)
        self.slots, self.slot_width, self.heads, self.decay, self.scale = slots, slot_width, heads, decay, scale
        self.controller = nn.LSTMCell(width + heads * slot_width, width)
        self.first_hidden = nn.Parameter(torch.zeros(width))
        self.first_cell = nn.Parameter(torch.zeros(width))
        self.key = nn.Linear(width, heads * slot_width)
        self.gate = nn.Parameter(torch.zeros(heads))  # α
        self.output = nn.Linear(width + heads * slot_width, likelihood.outputs)

    @classmethod
    def example(cls, kind: Kind, normalization: Policy) -> "MemoryAugmentedNetwork":
        network, likelihood = MLP(6, (16,), normalization), likelihood_for(kind, 4)
        return cls(network, likelihood, width=24, slots=16, slot_width=8, heads=2)

    def _first(self, tasks: int) -> State:
        nothing = self.first_hidden.new_zeros
        return {
            "hidden": self.first_hidden.expand(tasks, -1),
            "cell": self.first_cell.expand(tasks, -1),
            "memory": nothing(tasks, self.slots, self.slot_width),
            "read": nothing(tasks, self.heads, self.slot_width),
            "reading": nothing(tasks, self.heads, self.slots),
            "usage": nothing(tasks, self.slots),
        }

    def _step(self, token: Float[Tensor, "row width"], state: State) -> State:
        seen = torch.cat([token, state["read"].flatten(1)], 1)
        hidden, cell = self.controller(seen, (state["hidden"], state["cell"]))
        key = torch.tanh(self.key(hidden)).unflatten(1, (self.heads, -1))

        least = least_used(state["usage"], self.heads)
        gate = torch.sigmoid(self.gate)[:, None]
        writing = gate * state["reading"] + (1 - gate) * least
        kept = state["memory"] * (1 - least.sum(1))[..., None]
        memory = kept + torch.einsum("rhs,rhw->rsw", writing, key)

        reading = torch.softmax(self.scale * cosine(key, memory), -1)
        usage = self.decay * state["usage"] + (reading + writing).sum(1).detach()
        return {
            "hidden": hidden,
            "cell": cell,
            "memory": memory,
            "read": reading @ memory,
            "reading": reading,
            "usage": usage,
        }

    def _said(self, state: State) -> Float[Tensor, "row outputs"]:
        return self.output(torch.cat([state["hidden"], state["read"].flatten(1)], 1))


def least_used(usage: Float[Tensor, "row slot"], heads: int) -> Float[Tensor, "row head slot"]:
    """1 at the slot that each head may take: the least used for the first, the next for the second; 0 elsewhere."""
    places: Int[Tensor, "row head"] = usage.argsort(dim=1, stable=True)[:, :heads]
    return torch.zeros_like(usage)[:, None].expand(-1, heads, -1).scatter(2, places[..., None], 1.0)


def cosine(
    key: Float[Tensor, "row head width"], memory: Float[Tensor, "row slot width"]
) -> Float[Tensor, "row head slot"]:
    """Of every key to every slot; zero where a slot is empty."""
    lengths = (part.square().sum(-1).add(_TINY).sqrt() for part in (key, memory))
    of_key, of_slot = lengths
    return key @ memory.mT / (of_key[..., None] * of_slot[:, None])
