"""MultiMNIST: two digits laid over one another, one up and left, one down and right; which are they?

Sabour, Frosst & Hinton, "Dynamic Routing Between Capsules", NeurIPS 2017; as two tasks, Sener & Koltun, "Multi-Task
Learning as Multi-Objective Optimization", NeurIPS 2018.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from quickstudy.arguments import check_seed, check_whole
from quickstudy.multitask.named import NamedTasks
from quickstudy.multitask.shared import SharedSplit
from quickstudy.tasks import draws, mnist

__all__ = ["multi_mnist", "overlaid"]

_SHIFT = 4  # pixels to either side: 28 + 2·4 = 36, the canvas of the paper


def multi_mnist(
    folder: Path | str | None = None,
    *,
    train: int = 50_000,
    validation: int = 10_000,
    test: int = 10_000,
    seed: int = 0,
) -> NamedTasks:
    """The tasks `left` and `right`: the digit that is up and left, and the one that is down and right, `[1, 36, 36]`.

    Training and validation pairs are made of the publisher's training digits (the first 50,000, the other 10,000), test
    pairs of the test digits: no drawing is in two splits. The two digits of a pair are drawn independently, and
    the brighter of their pixels is kept.

    Args:
        folder: where the publisher's four files are, as for `tasks.mnist`.
        train, validation, test: how many pairs.
        seed: draws them.

    Raises:
        FileNotFoundError, ValueError, OSError: as `tasks.mnist`; or a number of pairs below one.
    """
    check_whole(train=train, validation=validation, test=test)
    check_seed(seed)
    if min(train, validation, test) < 1:
        raise ValueError(f"train, validation and test must be at least 1, got {train}, {validation} and {test}")
    pool = mnist(folder)
    labels = np.full(len(pool.examples), -1, np.int64)
    for number, rows in enumerate(pool.table.tolist()):
        labels[[row for row in rows if row >= 0]] = int(pool.names[number])
    published = np.flatnonzero(np.asarray(pool.groups) == 0)
    held = len(published) // 6
    members = {
        "train": published[:-held],
        "validation": published[-held:],
        "test": np.flatnonzero(np.asarray(pool.groups) == 1),
    }
    splits = []
    for split, pairs in (("train", train), ("validation", validation), ("test", test)):
        chosen = draws.uniforms(seed, f"multi-mnist/{split}", 0, pairs, 2)
        left, right = members[split][draws.integers(chosen, 0, len(members[split]) - 1)].T
        x = overlaid(pool.examples[torch.from_numpy(left)], pool.examples[torch.from_numpy(right)])
        y = {"left": torch.from_numpy(labels[left]), "right": torch.from_numpy(labels[right])}
        whole = torch.ones(pairs, dtype=torch.bool)
        splits.append(SharedSplit(split, x, y, {"left": whole, "right": whole}))
    return NamedTasks(*splits)


def overlaid(left: Tensor, right: Tensor) -> Tensor:
    """uint8 images `[n, 1, 28, 28]`, the first moved up and left, the second down and right, as floats `[n, 1, 36, 36]`
    from 0 to 1."""
    size = left.shape[-1] + 2 * _SHIFT
    canvas = torch.zeros(2, len(left), 1, size, size, dtype=left.dtype)
    canvas[0, ..., : left.shape[-2], : left.shape[-1]] = left
    canvas[1, ..., -right.shape[-2] :, -right.shape[-1] :] = right
    return canvas.amax(0).float() / 255
