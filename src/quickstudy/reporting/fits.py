"""A task of one input and one target, and what a learner makes of it, step by step."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from torch import Tensor

from quickstudy.arguments import check_whole
from quickstudy.learners import GradientLearner
from quickstudy.networks import evaluating
from quickstudy.reporting.svg import INK, MUTED, SERIES, Draw, Panel, stacked
from quickstudy.tasks import TaskBatch

__all__ = ["draw_fits", "one_dimensional"]

_MOST_STEPS = 5  # lines in one figure
_POINTS = 200


def one_dimensional(batch: TaskBatch) -> bool:
    """Whether examples are of one input and one target, so that a task can be drawn as a curve."""
    x, y = batch.query.x, batch.query.y
    return isinstance(x, Tensor) and isinstance(y, Tensor) and x[0, 0].numel() == y[0, 0].numel() == 1


def draw_fits(
    learners: GradientLearner | Mapping[str, GradientLearner],
    batch: TaskBatch,
    truth: Callable[[Tensor], Tensor] | None = None,
    *,
    steps: Sequence[int] | None = None,
    styles: Mapping[str, int] | None = None,
    title: str = "The fit, step by step",
    name: str = "fits",
) -> Panel:
    """The first task of `batch`, and the prediction over all x before the first inner step and after others.

    Args:
        learners: a learner for regression, or several by name, which stand one below the other; on the device of
            `batch`, put into evaluation mode meanwhile.
        batch: tasks of one input and one target.
        truth: from x `[n]` to y `[n]`, without noise; drawn where it is known, such as from `SinusoidSplit.truth`.
        steps: after how many inner steps; by default all, or five of them when there are more.
        styles: learner → number, by whose colour it is drawn; by default in order.
        title: above the figure.
        name: ids in the figure begin with it.

    Raises:
        TypeError: a learner without an inner loop.
        ValueError: a learner of classes, tasks of another form, or steps that a learner does not make.
    """
    named = {"": learners} if isinstance(learners, GradientLearner) else learners
    _check(named, batch)
    task = batch[0]
    numbers = {each: number if styles is None else styles[each] for number, each in enumerate(named)}
    x, y = (part[0][task.query.mask[0]].reshape(-1) for part in (task.query.x, task.query.y))
    given = [part[0][task.support.mask[0]].reshape(-1) for part in (task.support.x, task.support.y)]
    every = torch.cat([x, given[0]])
    grid = torch.linspace(float(every.min()), float(every.max()), _POINTS, dtype=every.dtype, device=every.device)
    true = None if truth is None else _as_array(truth(grid))
    points = [_as_array(part) for part in given]
    seen = np.concatenate([_as_array(y), points[1], *([] if true is None else [true])])
    room = 0.3 * (float(np.ptp(seen)) or 1.0)
    limits = (float(seen.min()) - room, float(seen.max()) + room)

    draws: list[tuple[float, Draw]] = []
    words = []
    for each, learner in named.items():
        fits, errors = _fits(learner, task, grid)
        chosen = _some(len(fits) - 1) if steps is None else list(dict.fromkeys(steps))
        _check_steps(chosen, len(fits) - 1)
        colour = SERIES[numbers[each] % len(SERIES)]
        draws.append(
            (215.0, _curves(each, _as_array(grid), {k: fits[k] for k in chosen}, true, points, limits, colour))
        )
        words.append(f"{each} {errors[0]:.3g} and {errors[-1]:.3g}".strip())
    said = f"Mean squared error of the queries before the first step and after the last: {'; '.join(words)}."
    about = f"A task of {len(points[0])} support points. {said}"
    return stacked(name, title, about, draws, said)


def _check(learners: Mapping[str, Any], batch: TaskBatch) -> None:
    if not learners:
        raise ValueError("learners is empty: there must be at least one")
    for learner in learners.values():
        if not isinstance(learner, GradientLearner):
            raise TypeError(
                "learners must be GradientLearners such as MAML, which adapt in steps that can be drawn, "
                f"got {type(learner).__name__}"
            )
        if learner.likelihood.kind != "regression":
            raise ValueError(f"learners must be for regression, got {type(learner).__name__} for classes")
    batch.check()
    if not one_dimensional(batch):
        raise ValueError("batch must be of tasks with one input and one target, which can be drawn as a curve")
    if not batch.query.mask[0].any():
        raise ValueError("batch has no query in its first task, which is the one that is drawn")


def _check_steps(steps: Sequence[int], most: int) -> None:
    for step in steps:
        check_whole(steps=step)
        if not 0 <= step <= most:
            raise ValueError(f"steps must be between 0 and {most}, which the learner makes, got {step}")
    if not steps:
        raise ValueError("steps is empty: name at least one")


def _some(last: int) -> list[int]:
    """All steps, or some that grow farther apart: most happens in the first."""
    if last < _MOST_STEPS:
        return list(range(last + 1))
    return [0, *dict.fromkeys(np.geomspace(1, last, _MOST_STEPS - 1).round().astype(int).tolist())]


def _fits(
    learner: GradientLearner, task: TaskBatch, grid: Float[Tensor, " point"]
) -> tuple[list[np.ndarray], list[float]]:
    """The predicted means over the grid, and the mean squared error of the queries, at each step."""
    x = grid.reshape(1, -1, *task.query.x.shape[2:])
    query, real = task.query.inert(), task.query.mask
    fits, errors = [], []
    with evaluating(learner), torch.no_grad():
        for state in learner.trajectory(task.support, task.classes):
            fits.append(_as_array(learner.predict(state.phi, x).mean))
            mean = learner.predict(state.phi, query.x, real).mean
            errors.append(float((mean - query.y)[real].square().mean()))
    return fits, errors


def _as_array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().reshape(-1).double().cpu().numpy()


def _curves(
    heading: str,
    x: np.ndarray,
    fits: Mapping[int, np.ndarray],
    truth: np.ndarray | None,
    points: Sequence[np.ndarray],
    limits: tuple[float, float],
    colour: str,
) -> Draw:
    def draw(axes: Axes) -> None:
        if truth is not None:
            axes.plot(x, truth, color=MUTED, lw=5, alpha=0.35, solid_capstyle="round", label="truth")
        for order, (step, fit) in enumerate(fits.items()):
            # The later, the stronger; the beginning is dotted.
            share = order / max(1, len(fits) - 1)
            style: Any = {"ls": ":", "lw": 1.6} if step == 0 else {"ls": "-", "lw": 1.0 + 1.2 * share}
            label = f"{step} step{'' if step == 1 else 's'}"
            axes.plot(x, fit, color=colour, alpha=1.0 if step == 0 else 0.3 + 0.7 * share, label=label, **style)
        axes.plot(*points, ls="", marker="o", color=INK, ms=5, zorder=3, label="support")
        axes.set(xlabel="x", ylabel="y", ylim=limits)
        if heading:
            axes.set_title(heading, loc="left", pad=36)
        axes.legend(
            loc="lower left", bbox_to_anchor=(0, 1), ncols=4, frameon=False, fontsize=10, borderaxespad=0,
            columnspacing=0.9, handlelength=1.3, handletextpad=0.4,
        )  # fmt: skip

    return draw
