"""Scoring on many tasks that share their examples: embed every example once, then draw the tasks from the features.

600 episodes ask for the same few thousand images again and again. Where a learner reads them through a network that
treats each image by itself, the answers are the same, and most of the work is saved.
"""

import copy
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from quickstudy.learners import Learner
from quickstudy.networks import Network, Statistics
from quickstudy.tasks import Episodes, Split, Tree
from quickstudy.tasks.episodes import as_floats
from quickstudy.tasks.likelihood import precise

__all__ = ["Kept", "embedded"]

Kept: TypeAlias = list[tuple[Tensor, NDArray[np.int64], Tensor]]
"""Examples, which rows of them, and their features: what one learner was asked for before."""

_PER_EXAMPLE = ("layer", "group", "instance", "none", "running")  # in evaluation mode
_IMAGES_AT_ONCE = 512
_USES = 4  # features that are kept are for further splits: how many, as a rule of thumb


def embedded(
    learner: Learner, split: Split, tasks: int, kept: Kept | None = None, known_as: Tensor | None = None
) -> tuple[Learner, Split]:
    """The learner with its network taken off, and the split with features for examples; or both as they are.

    They are as they are when the network's normalization looks at a task's other examples, when the learner reads
    inputs in another way, and when `tasks` tasks ask for fewer examples than the split has
    (for a quarter of them, when they are kept for further splits).

    Args:
        learner: in evaluation mode, on the device where the split's examples are.
        split: to be scored on.
        tasks: how many.
        kept: features that were computed before, which new ones are added to; of this learner and no other.
        known_as: the split's examples, where they were before they were moved to the device.
    """
    network = getattr(learner, "network", None)
    if (
        not learner.embeds
        or not isinstance(split, Episodes)
        or not isinstance(network, Network)
        or network.normalization not in _PER_EXAMPLE
        or not isinstance(split.examples, Tensor)
    ):
        return learner, split
    real = split.table >= 0
    rows = np.unique(split.table[real])
    first, uses = split.draw(0, 1, 0), 1 if kept is None else _USES
    if uses * tasks * (first.support.mask.shape[1] + first.query.mask.shape[1]) <= len(rows):
        return learner, split
    kept = [] if kept is None else kept
    origin = split.examples if known_as is None else known_as
    known = (f for examples, of, f in kept if examples is origin and np.array_equal(of, rows))
    features = next(known, None)
    if features is None:
        chunks = torch.from_numpy(rows).to(split.examples.device).split(_IMAGES_AT_ONCE)
        features = torch.cat([_features(network, as_floats(split.examples[chunk])) for chunk in chunks])
        kept.append((origin, rows, features))
    drawn = copy.copy(split)
    drawn.examples = features
    drawn.table = np.where(real, np.searchsorted(rows, np.where(real, split.table, rows[0])), -1)
    bare = copy.copy(learner)
    bare._modules = {**learner._modules, "network": _Given(network)}
    return bare, drawn


@torch.no_grad()
def _features(network: Network, x: Float[Tensor, " example *input"]) -> Float[Tensor, "example width"]:
    weight = next(network.parameters(), x)
    inputs = x.to(weight.dtype) if x.is_floating_point() else x
    return precise(network(inputs[None], torch.ones(1, len(x), dtype=torch.bool, device=x.device))[0][0])


class _Given(Network):
    """A network whose features are its inputs."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.width, self.maps, self.normalization = network.width, network.maps, network.normalization

    def forward(
        self, x: Tree, mask: Bool[Tensor, "task n"], statistics: Statistics | None = None
    ) -> tuple[Float[Tensor, "task n width"], Statistics]:
        return x, {}
