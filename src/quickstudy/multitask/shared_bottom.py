"""Shared bottom: one trunk for all tasks, one head for each (a multi-headed network).

Caruana, "Multitask Learning", Machine Learning 1997.
"""

from collections.abc import Sequence

from jaxtyping import Bool, Float
from torch import Tensor, nn

from quickstudy.multitask.module import NamedModule, Objectives, trunk
from quickstudy.rebuild import register
from quickstudy.tasks.batch import Tree
from quickstudy.tasks.likelihood import Reduction

__all__ = ["SharedBottom"]


@register
class SharedBottom(NamedModule):
    """Hard parameter sharing over named tasks with losses of their own.

    Args:
        network: the trunk. Its normalization may not need a support set: `running`, `layer`, `group` or `none`.
        likelihoods: what the outputs of each task's head mean.
        reduction: mean or sum over the examples of a task.
        tower: widths of hidden layers that each task has of its own, before its output layer.

    Raises:
        ValueError: no task, an unsuitable normalization, or an unknown reduction.
    """

    def __init__(
        self,
        network: nn.Module,
        likelihoods: Objectives,
        reduction: Reduction = "mean",
        tower: Sequence[int] = (),
    ) -> None:
        super().__init__(likelihoods, reduction)
        self.network = trunk(network)
        self.heads = self._heads(self.network.width, tower)
        self.tower = tuple(tower)

    def raw(
        self, x: Tree, mask: Bool[Tensor, "row n"], tasks: Sequence[int], of: Sequence[int]
    ) -> Float[Tensor, "task n outputs"]:
        features, _ = self.network(x, mask)
        return self.from_features(features, tasks, of)
