"""Task descriptors: one network and one head for all tasks, told by a vector z_i which one is asked.

    none          h                      the task is ignored: complete pooling, L over ∪ D_i
    concatenate   relu(W [h, z_i])       z_i moves the bias: the least of the three
    multiply      relu(W h) ⊙ 2σ(V z_i)  z_i gates units: tasks may use parts of the network of their own
    film          relu(W h (1 + γ(z_i)) + β(z_i))

Multiplicative gating: Dauphin et al., "Language Modeling with Gated Convolutional Networks", ICML 2017 (σ as a gate);
FiLM: Perez et al., "FiLM: Visual Reasoning with a General Conditioning Layer", AAAI 2018.
"""

from collections.abc import Sequence
from typing import Literal, TypeAlias, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from quickstudy.arguments import check_whole
from quickstudy.multitask.heads import Heads, of_rows
from quickstudy.multitask.module import NamedModule, Objectives, trunk
from quickstudy.rebuild import register
from quickstudy.tasks.batch import Tree
from quickstudy.tasks.likelihood import Reduction

__all__ = ["Conditioning", "TaskConditioned"]

Conditioning: TypeAlias = Literal["none", "concatenate", "multiply", "film"]


@register
class TaskConditioned(NamedModule):
    """One network for all tasks, given the descriptor of the one that is asked.

    All tasks have one likelihood, for they have one head.

    Args:
        network: the trunk, blind to the task.
        likelihoods: what the outputs mean; the same for every task, though weights and metrics may differ.
        descriptors: z_i of every task, by its name; by default one-hot.
        conditioning: how z_i enters the hidden layer after the trunk.
        hidden: width of that layer.
        reduction: mean or sum over the examples of a task.

    Raises:
        ValueError: no task, likelihoods or descriptors that differ in form, or an unknown conditioning.
    """

    z: Tensor

    def __init__(
        self,
        network: nn.Module,
        likelihoods: Objectives,
        descriptors: dict[str, list[float]] | None = None,
        conditioning: Conditioning = "film",
        hidden: int = 64,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(likelihoods, reduction)
        if conditioning not in get_args(Conditioning):
            raise ValueError(f"conditioning must be one of {', '.join(get_args(Conditioning))}, got {conditioning!r}")
        if len(set(self._forms.values())) > 1:
            raise ValueError("the tasks of one head must have one likelihood; for others use SharedBottom")
        check_whole(hidden=hidden)
        if hidden < 1:
            raise ValueError(f"hidden must be at least 1, got {hidden}")
        self.network, self.descriptors, self.conditioning = trunk(network), descriptors, conditioning
        self.hidden = hidden
        self.register_buffer("z", _table(descriptors, self.tasks), persistent=False)
        width, length = self.network.width, self.z.shape[1]
        self.layer = nn.Linear(width + (length if conditioning == "concatenate" else 0), hidden)
        outputs = {"multiply": hidden, "film": 2 * hidden}.get(conditioning)
        self.condition = nn.Linear(length, outputs) if outputs else None
        self.heads = Heads(1, hidden, self.objectives[self.tasks[0]].likelihood.outputs)

    def own_parameters(self) -> list[nn.Parameter]:
        return []

    def raw(
        self, x: Tree, mask: Bool[Tensor, "row n"], tasks: Sequence[int], of: Sequence[int]
    ) -> Float[Tensor, "task n outputs"]:
        features, _ = self.network(x, mask)
        features = of_rows(features, of)
        hidden = self.conditioned(features, self.z[list(tasks)].to(features.dtype))
        return self.heads(hidden.flatten(0, 1)[None])[0].unflatten(0, hidden.shape[:2])

    def conditioned(
        self, features: Float[Tensor, "task n width"], z: Float[Tensor, "task descriptor"]
    ) -> Float[Tensor, "task n hidden"]:
        """The hidden layer, told which task it is."""
        if self.conditioning == "concatenate":
            features = torch.cat([features, z[:, None].expand(-1, features.shape[1], -1)], -1)
        hidden = self.layer(features)
        if self.condition is None:
            return F.relu(hidden)
        told = self.condition(z)[:, None]
        if self.conditioning == "multiply":
            return F.relu(hidden) * 2 * torch.sigmoid(told)
        scale, shift = told.chunk(2, -1)
        return F.relu(hidden * (1 + scale) + shift)


def _table(descriptors: dict[str, list[float]] | None, tasks: Sequence[str]) -> Float[Tensor, "task descriptor"]:
    if descriptors is None:
        return torch.eye(len(tasks))
    if set(descriptors) != set(tasks):
        odd = sorted(set(descriptors) ^ set(tasks))[0]
        raise ValueError(f"descriptors must name the tasks of likelihoods; {odd!r} is only in one of them")
    lengths = {len(z) for z in descriptors.values()}
    if len(lengths) > 1 or not min(lengths):
        raise ValueError(f"descriptors must be of one length, at least 1, got {sorted(lengths)}")
    table = torch.tensor([[float(number) for number in descriptors[task]] for task in tasks])
    if not torch.isfinite(table).all():
        raise ValueError("descriptors has a value that is not finite")
    return table
