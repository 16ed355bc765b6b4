"""Scoring a learner on tasks it has not seen: the same numbered tasks for everyone."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils._pytree import tree_leaves

from quickstudy import progress
from quickstudy.evaluation.asked import check_asked
from quickstudy.evaluation.embedded import Kept, embedded
from quickstudy.evaluation.intervals import Interval, Values, interval
from quickstudy.evaluation.metrics import calibration_bins, calibration_error, class_probabilities, task_metrics
from quickstudy.learners import Learner
from quickstudy.networks import evaluating
from quickstudy.tasks.source import Split
from quickstudy.training.errors import naming_draws
from quickstudy.training.fabric import make_fabric, to_module

__all__ = ["Scores", "evaluate", "summarize"]

_RESAMPLES = 1000


@dataclass(frozen=True)
class Scores:
    """The scores of one learner on numbered tasks.

    Attributes:
        values: by metric, one number per task.
        bins: `[task, bin, 3]` for calibration; None for real targets.
        seed: of the stream of tasks.
        split: its name.
        asked: a checksum of the inputs of the first task and of the targets of all queries, by which the same tasks
            are known.
    """

    values: dict[str, Values]
    bins: Float[Tensor, "task bin 3"] | None = None
    seed: int = 0
    split: str = "test"
    asked: int = 0

    @property
    def tasks(self) -> int:
        """How many tasks."""
        return len(next(iter(self.values.values())))

    def summary(self) -> dict[str, Interval]:
        """Every metric with its 95% interval over tasks."""
        return summarize([self])

    def __str__(self) -> str:
        return f"{show(self.summary())} ({self.tasks} {self.split} tasks)"


def show(summary: dict[str, Interval]) -> str:
    """Metrics in one line, accuracy in percent."""
    parts = []
    for name, value in summary.items():
        factor, digits = (100, 2) if name == "accuracy" else (1, 4)
        parts.append(f"{name} {factor * value.mean:.{digits}f} ± {factor * value.ci95:.{digits}f}")
    return ", ".join(parts)


def evaluate(
    learner: Learner,
    split: Split,
    *,
    tasks: int = 600,
    seed: int = 0,
    batch_size: int = 32,
    device: str = "auto",
    precision: Any = "32-true",
    kept: Kept | None = None,
) -> Scores:
    """Adapt to the support of numbered tasks and score the predictions for their queries.

    The tasks are the draws 0 … tasks − 1 of the split's stream, whoever is scored and however they are batched. A split
    with fewer different tasks is gone through once. A learner whose `log_prob` is of all queries of a task together
    gets a `joint_nll` too: −log p of them, divided by their number. Where every example can be embedded on its own, it
    is embedded once for all tasks (see `embedded`).

    Args:
        learner: put into evaluation mode meanwhile.
        split: usually `source.test`.
        tasks: how many; 600 or more for a claim.
        seed: of the stream.
        batch_size: tasks at a time.
        device, precision: as for `fit`.
        kept: a list that this learner's embedded examples are kept in, for further splits of the same examples.

    Raises:
        TypeError: an argument of another type.
        ValueError: a number out of range, a malformed batch, or a prediction that is not finite.
    """
    if not isinstance(learner, Learner):
        raise TypeError(f"learner must be a Learner, got {type(learner).__name__}")
    check_asked(split, tasks=tasks, batch_size=batch_size)
    fabric = make_fabric(device, precision)
    tasks = min(tasks, split.size or tasks)
    examples = getattr(split, "examples", None)  # before they are moved, which makes new ones
    split = split.to(fabric.device)
    values: dict[str, list[Tensor]] = {}
    bins, asked = [], 0
    with (
        evaluating(learner, fabric.device),
        progress.bar("evaluating", tasks) as bar,
        torch.no_grad(),
        fabric.autocast(),
    ):
        first_task = split.draw(0, 1, seed)
        reader, split = embedded(learner, split, tasks, kept, examples)
        joint = type(reader).log_prob is not Learner.log_prob
        for first in range(0, tasks, batch_size):
            count = min(batch_size, tasks - first)
            batch = to_module(split.draw(first, count, seed), learner, fabric)
            with naming_draws(first, count, seed):
                batch.check_values()
                query = batch.query.inert()
                reader.likelihood.check(query.y)
                phi = reader.adapt(batch.support, batch.classes)
                # Not `predict`: what is not finite is named below, by its number in the stream.
                raw = reader.outputs(phi, query.x, query.mask)
            prediction = reader.likelihood.distribution(raw, phi.get("classes"))
            for name, value in task_metrics(prediction, query.y, query.mask).items():
                _check_finite(name, value, first, seed)
                values.setdefault(name, []).append(value.cpu())
            if joint:
                together = -reader.log_prob(phi, query) / query.count
                _check_finite("joint_nll", together, first, seed)
                values.setdefault("joint_nll", []).append(together.double().cpu())
            probs = class_probabilities(prediction)
            if probs is not None:
                bins.append(calibration_bins(probs, query.y, query.mask).cpu())
            asked = zlib.crc32(query.y[query.mask].double().cpu().numpy().tobytes(), asked)
            bar.advance(batch.tasks)
    # Data sets of one form give episodes whose labels are the same; their inputs are not.
    asked = checksum([*tree_leaves(first_task.support.x), *tree_leaves(first_task.query.x)], asked)
    return Scores(
        {name: torch.cat(value).numpy() for name, value in sorted(values.items())},
        torch.cat(bins) if bins else None,
        seed,
        split.name,
        asked,
    )


def checksum(tensors: Sequence[Tensor], start: int) -> int:
    for tensor in tensors:
        start = zlib.crc32(tensor.cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes(), start)
    return start


def _check_finite(metric: str, value: Tensor, first: int, seed: int) -> None:
    if not torch.isfinite(value).all():
        task = first + int((~torch.isfinite(value)).nonzero()[0])
        raise ValueError(
            f"the {metric} of task {task}, seed {seed}, is not finite: the learner's prediction is NaN or infinite "
            f"there, or gives what happened no probability; look at split.draw({task}, 1, {seed})"
        )


def same_tasks(runs: Sequence[Scores]) -> bool:
    """Whether all were scored on the same tasks."""
    return len({(run.tasks, run.seed, run.split, run.asked) for run in runs}) <= 1


def summarize(runs: Sequence[Scores]) -> dict[str, Interval]:
    """Every metric of several runs (training seeds) on the same tasks, with intervals over runs and tasks.

    The calibration error is not a mean over tasks: it is that of all queries together, and its interval is a bootstrap
    over tasks (and Student's over runs).

    Raises:
        ValueError: no run, or runs on different tasks.
    """
    if not runs:
        raise ValueError("runs is empty: there must be at least one")
    if not same_tasks(runs):
        raise ValueError("the runs were scored on different tasks; score all on the same split, seed and number")
    summary = {name: interval(np.stack([run.values[name] for run in runs])) for name in runs[0].values}
    bins = [run.bins for run in runs if run.bins is not None]
    if bins:
        summary["ece"] = _calibration(torch.stack(bins))
    return summary


def _calibration(bins: Float[Tensor, "seed task bin 3"]) -> Interval:
    seeds, tasks = bins.shape[:2]
    errors = calibration_error(bins.sum(1))
    generator = torch.Generator().manual_seed(0)
    weights = torch.rand(_RESAMPLES, tasks, generator=generator)
    picks = (weights * tasks).long()
    counts = torch.zeros(_RESAMPLES, tasks, dtype=bins.dtype).scatter_add(
        1, picks, torch.ones_like(picks, dtype=bins.dtype)
    )
    resampled = calibration_error(torch.einsum("rt,stbk->rsbk", counts, bins)).mean(1)
    half = 1.96 * float(resampled.std()) if tasks > 1 else float("nan")
    if seeds > 1:
        half = float(np.hypot(half, interval(errors.numpy()).ci95))
    return Interval(float(errors.mean()), half, tasks, seeds)
