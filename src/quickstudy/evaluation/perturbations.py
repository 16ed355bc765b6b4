"""The same tasks made harder: queries turned, blurred by noise or covered, or fewer examples to learn from.

A `Perturbation` is a pure function of a batch, a level and uniform numbers that belong to the tasks, so that task 17 is
disturbed in the same way whoever is scored and however it is batched. At its first level it changes nothing.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from scipy.special import ndtri
from torch import Tensor

from quickstudy.tasks import Examples, TaskBatch, draws

__all__ = [
    "PERTURBATIONS",
    "Perturbation",
    "first_queries",
    "harder",
    "keep_share",
    "occlude",
    "perturbations_for",
    "rotate",
]


@dataclass(frozen=True)
class Perturbation:
    """One way of making tasks harder.

    Attributes:
        name: what is done, as a reader is told.
        unit: what `levels` count.
        levels: from the one that changes nothing to the hardest.
        changes: `queries` (what was learned meets inputs unlike those it was learned from) or `support`.
        applies: whether it means anything for tasks like those of a batch.
        numbers: how many uniform numbers it needs per query.
        function: (batch, level, uniform numbers `[task, query, numbers]`) to the harder batch.
    """

    name: str
    unit: str
    levels: tuple[float, ...]
    changes: str
    applies: Callable[[TaskBatch], bool]
    numbers: Callable[[TaskBatch], int]
    function: Callable[[TaskBatch, float, Tensor], TaskBatch]


def first_queries(batch: TaskBatch, queries: int) -> TaskBatch:
    """The same tasks, asked about no more than their first `queries` examples."""
    fewer = batch.query.map(lambda leaf: leaf[:, :queries])
    return TaskBatch(batch.support, fewer, batch.classes, batch.descriptor)


def harder(
    batch: TaskBatch, perturbation: Perturbation, level: float, *, first: int, seed: int, queries: int
) -> TaskBatch:
    """The draws `first` … of the stream `seed`, disturbed.

    Args:
        batch: the draws as they are, with at most `queries` queries each.
        perturbation: what is done to them.
        level: how much.
        first, seed: which draws they are; what is random belongs to these numbers.
        queries: the most queries that a task of the stream may have here.

    Raises:
        ValueError: a level that the perturbation does not have, or more queries than `queries`.
    """
    if level not in perturbation.levels:
        known = ", ".join(map(str, perturbation.levels))
        raise ValueError(f"level must be one of {known} for {perturbation.name}, got {level}")
    length = batch.query.mask.shape[1]
    if length > queries:
        raise ValueError(f"queries is {queries}, but the tasks have up to {length}; take their first_queries")
    if level == perturbation.levels[0]:
        return batch
    # As many as the longest task would need: those of a task must not depend on the padding of its batch.
    each = perturbation.numbers(batch)
    drawn = draws.uniforms(seed, f"probes/{perturbation.name}", first, batch.tasks, queries * each)
    uniform = torch.from_numpy(drawn).reshape(batch.tasks, queries, each)[:, :length]
    return perturbation.function(batch, level, uniform.to(batch.query.mask.device))


def rotate(x: Float[Tensor, "task n channel height width"], degrees: float) -> Tensor:
    """Images turned counterclockwise about their centre, the pixels of the border continued outwards.

    Square images are turned by multiples of 90° without interpolation.
    """
    if degrees % 90 == 0 and x.shape[-1] == x.shape[-2]:
        return torch.rot90(x, round(degrees / 90), (-2, -1))
    angle, (height, width) = math.radians(degrees), x.shape[-2:]
    # Where in the old image (coordinates from −1 to 1) each pixel of the new one comes from; y points down.
    cos, sin = math.cos(angle), math.sin(angle)
    back = x.new_tensor([[cos, -sin * height / width, 0.0], [sin * width / height, cos, 0.0]])
    flat = x.flatten(0, 1)
    grid = F.affine_grid(back.expand(len(flat), 2, 3), list(flat.shape), align_corners=False)
    return F.grid_sample(flat, grid, padding_mode="border", align_corners=False).reshape(x.shape)


def occlude(x: Float[Tensor, "task n channel height width"], side: float, uniform: Float[Tensor, "task n 2"]) -> Tensor:
    """A grey square somewhere on each image, whose side is the share `side` of the image's shorter one.

    Args:
        uniform: where it is, from top and left.
    """
    height, width = x.shape[-2:]
    size = round(side * min(height, width))
    top, left = (uniform * torch.tensor([height - size + 1, width - size + 1], device=x.device)).long().unbind(-1)
    rows, columns = torch.arange(height, device=x.device), torch.arange(width, device=x.device)
    inside_rows = (rows >= top[..., None]) & (rows < top[..., None] + size)
    inside_columns = (columns >= left[..., None]) & (columns < left[..., None] + size)
    covered = inside_rows[..., :, None] & inside_columns[..., None, :]
    return torch.where(covered[:, :, None], x.new_tensor(0.5), x)


def keep_share(examples: Examples, share: float, classes: bool) -> Examples:
    """The first examples of every class (of every task, where there are no classes): the share of them, rounded up."""
    mask = examples.mask
    same = mask[:, :, None] & mask[:, None, :]
    if classes:
        same = same & (examples.y[:, :, None] == examples.y[:, None, :])
    earlier = torch.ones(mask.shape[1], mask.shape[1], dtype=torch.bool, device=mask.device).tril(-1)
    rank, count = (same & earlier).sum(-1), same.sum(-1)
    return Examples(examples.x, examples.y, mask & (rank < torch.ceil(share * count)))


def _is_images(batch: TaskBatch) -> bool:
    x = batch.query.x
    if not isinstance(x, Tensor) or x.ndim != 5 or not x.is_floating_point():
        return False
    # Pixels lie in 0 … 1. What is standardised does not, and cutting noise off there would change it altogether.
    real = batch.query.inert().x
    return bool(real.min() >= 0 and real.max() <= 1)


def _is_vectors(batch: TaskBatch) -> bool:
    x = batch.query.x
    return isinstance(x, Tensor) and x.ndim == 3 and x.is_floating_point()


def _has_shots_to_spare(batch: TaskBatch) -> bool:
    """Whether at least half of the tasks have a class (or, without classes, a support) of two examples or more."""
    less = keep_share(batch.support, 0.5, batch.classes is not None)
    return bool(((batch.support.mask & ~less.mask).any(1)).double().mean() >= 0.5)


def _each_input(batch: TaskBatch) -> int:
    return batch.query.x[0, 0].numel()


def _turned(batch: TaskBatch, level: float, _: Tensor) -> TaskBatch:
    return _asking(batch, rotate(batch.query.x, level))


def _noisy_pixels(batch: TaskBatch, level: float, uniform: Tensor) -> TaskBatch:
    return _asking(batch, (batch.query.x + level * _normal(uniform, batch.query.x)).clamp(0, 1))


def _covered(batch: TaskBatch, level: float, uniform: Tensor) -> TaskBatch:
    return _asking(batch, occlude(batch.query.x, level, uniform))


def _noisy_features(batch: TaskBatch, level: float, uniform: Tensor) -> TaskBatch:
    x = batch.query.x
    # What the noise is measured by must not depend on which other tasks are in the batch.
    spread = _spread(
        torch.cat([batch.support.inert().x, batch.query.inert().x], 1),
        torch.cat([batch.support.mask, batch.query.mask], 1),
    )
    return _asking(batch, x + level * spread[:, None] * _normal(uniform, x))


def _smaller_support(batch: TaskBatch, level: float, _: Tensor) -> TaskBatch:
    support = keep_share(batch.support, level, batch.classes is not None)
    return TaskBatch(support, batch.query, batch.classes, batch.descriptor)


def _asking(batch: TaskBatch, x: Tensor) -> TaskBatch:
    return TaskBatch(batch.support, Examples(x, batch.query.y, batch.query.mask), batch.classes, batch.descriptor)


def _normal(uniform: Tensor, like: Tensor) -> Tensor:
    # The smallest uniform number is 0, where the inverse of the normal distribution is −∞.
    values = ndtri(uniform.clamp(min=2.0**-54).cpu().numpy())
    return torch.from_numpy(values).to(like).reshape(like.shape)


def _spread(x: Float[Tensor, "task n feature"], mask: Bool[Tensor, "task n"]) -> Float[Tensor, "task feature"]:
    """The standard deviation of every feature over the real examples of a task."""
    count, wide = mask.sum(1, keepdim=True), mask[..., None]
    mean = x.sum(1) / count
    return (torch.where(wide, x - mean[:, None], 0.0).square().sum(1) / count).sqrt()


PERTURBATIONS = (
    Perturbation(
        "rotation", "degrees", (0.0, 15.0, 30.0, 60.0, 90.0, 180.0), "queries", _is_images, lambda _: 0, _turned
    ),
    Perturbation(
        "noise",
        "standard deviation, pixels from 0 to 1",
        (0.0, 0.1, 0.2, 0.4),
        "queries",
        _is_images,
        _each_input,
        _noisy_pixels,
    ),
    Perturbation(
        "occlusion",
        "side of a grey square, share of the image's",
        (0.0, 0.25, 0.5),
        "queries",
        _is_images,
        lambda _: 2,
        _covered,
    ),
    Perturbation(
        "noise",
        "share of each feature's standard deviation",
        (0.0, 0.1, 0.3, 1.0),
        "queries",
        _is_vectors,
        _each_input,
        _noisy_features,
    ),
    Perturbation(
        "fewer examples",
        "share of the support that is kept",
        (1.0, 0.5, 0.25),
        "support",
        _has_shots_to_spare,
        lambda _: 0,
        _smaller_support,
    ),
)


def perturbations_for(batch: TaskBatch) -> list[Perturbation]:
    """Those that mean something for tasks like these; none for inputs that are trees or whole numbers."""
    return [perturbation for perturbation in PERTURBATIONS if perturbation.applies(batch)]
