"""Two regression tasks that are as related as one likes: the dial on which negative transfer can be watched.

    w_1 = c u_1,    w_2 = c (p u_1 + √(1 − p²) u_2),    y = w · x + Σ_k sin(α_k w · x + β_k) + ε,    x ~ N(0, I)

u_1 and u_2 are orthogonal and of length one, so that p is the cosine of the two tasks' weights. Labels are the more
correlated, the higher p: with 1 the tasks are the same, with 0 what one looks at is nothing to the other, with −1 they
look at the same, and most of what is large in one is small in the other.

Ma, Zhao, Yi, Chen, Hong & Chi, "Modeling Task Relationships in Multi-task Learning with Multi-gate Mixture-of-Experts",
KDD 2018, section 3.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from quickstudy.arguments import check_real, check_seed, check_whole
from quickstudy.multitask.named import NamedSplit, NamedTasks
from quickstudy.tasks import draws
from quickstudy.tasks.source import SPLITS

__all__ = ["RelatedTasks", "related_regression"]

_TASKS = ("first", "second")


@dataclass(frozen=True)
class RelatedTasks(NamedTasks):
    """The two tasks, `first` and `second`, and what they are made of.

    Attributes:
        weights: w of both tasks.
        alpha, beta: frequencies and phases of the waves, the same for both.
        labelled: whether the second task's targets have to do with its inputs.
    """

    weights: Float[Tensor, "2 inputs"]
    alpha: Float[Tensor, " wave"]
    beta: Float[Tensor, " wave"]
    labelled: bool

    def truth(self, task: str, x: Float[Tensor, "*n inputs"]) -> Float[Tensor, "*n"]:
        """What y is at `x` on average; 0 for random labels.

        Raises:
            ValueError: another task.
        """
        if task not in _TASKS:
            raise ValueError(f"task must be 'first' or 'second', got {task!r}")
        if task == "second" and not self.labelled:
            return torch.zeros(x.shape[:-1])
        return _of(x @ self.weights[_TASKS.index(task)], self.alpha, self.beta)


def related_regression(
    correlation: float | None,
    *,
    examples: int = 100,
    held_out: int = 1000,
    inputs: int = 20,
    scale: float = 1.0,
    waves: int = 4,
    noise: float = 0.1,
    seed: int = 0,
) -> RelatedTasks:
    """Two regression tasks whose weights have the cosine p; each has inputs of its own.

    For one seed, the first task is the same whatever p is, and so are the inputs of the second.

    Args:
        correlation: p; None for a control, in which the second task's targets are drawn anew, of the same spread, and
            have nothing to do with its inputs.
        examples: of each task, to train on.
        held_out: of each task, to validate on, and as many to test on.
        inputs: numbers in x.
        scale: c.
        waves: how many sines.
        noise: standard deviation of ε, which is in all splits.
        seed: draws all of it.

    Raises:
        TypeError: an argument that is no number.
        ValueError: a correlation outside of [−1, 1], or a number out of range.
    """
    if correlation is not None:
        check_real(correlation=correlation)
        if not -1 <= correlation <= 1:
            raise ValueError(f"correlation must be in [−1, 1], or None for random labels, got {correlation}")
    check_whole(examples=examples, held_out=held_out, inputs=inputs, waves=waves)
    check_real(scale=scale, noise=noise)
    check_seed(seed)
    if min(examples, held_out) < 1 or inputs < 2 or waves < 0:
        raise ValueError(
            "examples and held_out must be at least 1, inputs at least 2 and waves at least 0, "
            f"got {examples}, {held_out}, {inputs} and {waves}"
        )
    if not (scale > 0 and noise >= 0):
        raise ValueError(f"scale must be positive and noise not negative, got {scale} and {noise}")

    def uniform(what: str, *shape: int) -> Any:
        return draws.uniforms(seed, f"relatedness/{what}", 0, *shape)

    basis = np.linalg.qr(draws.normals(uniform("directions", 2, inputs)).T)[0].T
    p = 0.0 if correlation is None else correlation
    weights = torch.tensor(scale * np.stack([basis[0], p * basis[0] + np.sqrt(1 - p**2) * basis[1]])).float()
    alpha, beta = (torch.tensor(row).float() for row in uniform("waves", 2, waves))
    alpha, beta = 1 + 2 * alpha, 2 * torch.pi * beta
    # w · x is normal; the spread of what it is turned into, at its quantiles.
    along = torch.tensor(scale * draws.normals((np.arange(1000) + 0.5) / 1000)).float()
    spread = _of(along, alpha, beta).std()
    splits = []
    for split in SPLITS:
        count = examples if split == "train" else held_out
        data = {}
        for task in _TASKS:
            numbers = draws.normals(uniform(f"{split}/{task}", count, inputs + 1))
            x, error = torch.tensor(numbers[:, :-1]).float(), torch.tensor(numbers[:, -1]).float()
            random = task == "second" and correlation is None
            mean = _of(x @ weights[_TASKS.index(task)], alpha, beta)
            data[task] = (x, spread * error if random else mean + noise * error)
        splits.append(NamedSplit(split, data))
    return RelatedTasks(splits[0], splits[1], splits[2], weights, alpha, beta, correlation is not None)


def _of(along: Float[Tensor, "*n"], alpha: Float[Tensor, " wave"], beta: Float[Tensor, " wave"]) -> Float[Tensor, "*n"]:
    """y without noise, of w · x."""
    return along + torch.sin(along[..., None] * alpha + beta).sum(-1)
