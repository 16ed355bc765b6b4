"""Separate networks: every task alone, which is what sharing has to beat."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._pytree import tree_map

from quickstudy.multitask.module import NamedModule, Objectives, trunk
from quickstudy.rebuild import register
from quickstudy.tasks.batch import Tree
from quickstudy.tasks.likelihood import Reduction

__all__ = ["SeparateNetworks"]


@register
class SeparateNetworks(NamedModule):
    """A network and a head for every task, trained side by side, nothing in common.

    The networks have one architecture; their stacked weights are mapped over, so that all run as one.

    Args:
        network: the architecture; each task's weights are drawn anew. Its normalization keeps no running statistics.
        likelihoods: what the outputs of each task's head mean.
        reduction: mean or sum over the examples of a task.

    Raises:
        ValueError: no task, an unsuitable normalization, or a network whose layers cannot be drawn anew.
    """

    def __init__(self, network: nn.Module, likelihoods: Objectives, reduction: Reduction = "mean") -> None:
        super().__init__(likelihoods, reduction)
        network = trunk(network)
        if any(True for _ in network.buffers()):
            raise ValueError("separate networks share no running statistics; use 'layer', 'group' or 'none'")
        copies = [_drawn_anew(network) for _ in self.tasks]
        self.names = [name for name, _ in network.named_parameters()]
        self.weights = nn.ParameterList(
            torch.stack([dict(one.named_parameters())[name].detach() for one in copies]) for name in self.names
        )
        # The architecture alone, out of sight of `parameters()` and `state_dict()`.
        self._architecture = [copy.deepcopy(network).to("meta")]
        self.heads = self._heads(network.width)

    @property
    def network(self) -> nn.Module:
        """The architecture, without weights."""
        return self._architecture[0]

    def own_parameters(self) -> list[nn.Parameter]:
        return list(self.parameters())

    def raw(
        self, x: Tree, mask: Bool[Tensor, "row n"], tasks: Sequence[int], of: Sequence[int]
    ) -> Float[Tensor, "task n outputs"]:
        weights = {name: leaf[list(tasks)] for name, leaf in zip(self.names, self.weights, strict=True)}

        def features(weights: dict[str, Tensor], x: Any, mask: Tensor) -> Tensor:
            one, here = tree_map(lambda leaf: leaf[None], x), mask[None]
            return functional_call(self.network, weights, (one, here))[0][0]

        mine = tree_map(lambda leaf: leaf[list(of)], x)
        # Dropout in a network is drawn for each task.
        return self.heads(torch.vmap(features, randomness="different")(weights, mine, mask[list(of)]), tasks)

    def train(self, mode: bool = True) -> "SeparateNetworks":
        super().train(mode)
        self.network.train(mode)
        return self


def _drawn_anew(network: nn.Module) -> nn.Module:
    """A copy with weights of its own."""
    network = copy.deepcopy(network)
    for name, part in network.named_modules():
        if not list(part.parameters(recurse=False)):
            continue
        draw = getattr(part, "reset_parameters", None)
        if draw is not None:
            draw()
        elif any(leaf.numel() and not _constant(leaf) for leaf in part.parameters(recurse=False)):
            raise ValueError(
                f"network has weights of its own in {name or 'itself'} ({type(part).__name__}) that cannot be drawn "
                "anew; give it reset_parameters()"
            )
    return network


def _constant(leaf: Tensor) -> bool:
    """Whether a parameter starts at one value everywhere, as scales and shifts do."""
    return bool((leaf == leaf.flatten()[0]).all())
