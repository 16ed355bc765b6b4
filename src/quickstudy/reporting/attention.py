"""What the queries of a task attend to: the support examples that an in-context transformer reads, layer by layer."""

import numpy as np
import torch
from matplotlib.axes import Axes
from torch import Tensor

from quickstudy.learners import InContextTransformer
from quickstudy.networks import evaluating
from quickstudy.reporting.svg import SERIES, Draw, Panel, stacked
from quickstudy.tasks import TaskBatch

__all__ = ["draw_attention"]

_MOST = 24  # queries, and support examples, in one figure


def draw_attention(
    learner: InContextTransformer,
    batch: TaskBatch,
    *,
    style: int = 0,
    title: str = "What queries attend to",
    name: str = "attention",
) -> Panel:
    """The first task of `batch`: a row for each query, a column for each support example, both in the order of their
    targets. The area of a dot is how much the query reads there, the mean over heads, relative to the most in its
    layer; layers stand below one another.

    Args:
        learner: on the device of `batch`, put into evaluation mode meanwhile.
        batch: tasks with one target per example.
        style: the number of the learner, by which its colour is.
        title: above the figure.
        name: ids in the figure begin with it.

    Raises:
        TypeError: a learner of another kind.
        ValueError: the first task has no query or no support, or targets that have no order.
    """
    if not isinstance(learner, InContextTransformer):
        raise TypeError(f"learner must be an InContextTransformer, got {type(learner).__name__}")
    batch.check()
    task = batch[0]
    if not (task.query.mask.any() and task.support.mask.any()):
        raise ValueError("batch must have a query and a support example in its first task, which is the one drawn")
    if not all(isinstance(part.y, Tensor) and part.y.ndim == 2 for part in (task.support, task.query)):
        raise ValueError("batch must be of tasks with one target per example, by which they are put in order")
    with evaluating(learner):
        phi = learner.adapt(task.support, task.classes)
        read = learner.attention(phi, task.query.x, task.query.mask)[0].mean(1).double().cpu()  # [layer, query, 1 + n]
    rows, columns = (_in_order(part.y[0], part.mask[0]) for part in (task.query, task.support))
    share = read[:, rows][:, :, 1 + columns].numpy()
    labels = [part.y[0].cpu()[chosen].tolist() for part, chosen in ((task.query, rows), (task.support, columns))]
    classes = learner.likelihood.kind != "regression"
    draws = [
        (70.0 + 9.0 * len(rows), _dots(f"layer {k + 1}", one, labels, classes, style)) for k, one in enumerate(share)
    ]
    said = ", ".join(f"{100 * one.sum(1).mean():.0f}%" for one in share)
    about = f"Of what a query reads, so much is of the {len(columns)} examples shown, layer by layer: {said}."
    if classes:
        same = np.asarray(labels[0])[:, None] == np.asarray(labels[1])
        alike = ", ".join(f"{100 * (one * same).sum(1).mean():.0f}%" for one in share)
        about += f" Of examples of its own class: {alike}."
    return stacked(name, title, about, draws, about)


def _in_order(y: Tensor, mask: Tensor) -> Tensor:
    """Places of real examples in the order of their targets, evenly chosen when there are too many."""
    places = mask.nonzero()[:, 0].cpu()
    places = places[torch.argsort(y.cpu()[places], stable=True)]
    if len(places) > _MOST:
        places = places[torch.linspace(0, len(places) - 1, _MOST).round().long()]
    return places


def _dots(heading: str, share: np.ndarray, labels: list[list[float]], classes: bool, style: int) -> Draw:
    def draw(axes: Axes) -> None:
        rows, columns = share.shape
        x, y = np.meshgrid(np.arange(columns), np.arange(rows))
        widest = min(8.0, 280.0 / columns)  # points, so that neighbours do not touch
        axes.scatter(x, y, s=widest**2 * share / share.max(), color=SERIES[style % len(SERIES)], linewidths=0)
        for count, own, axis in ((columns, labels[1], axes.xaxis), (rows, labels[0], axes.yaxis)):
            some = np.unique(np.linspace(0, count - 1, min(count, 6)).round().astype(int))
            axis.set_ticks(some, [f"{own[place]:.0f}" if classes else f"{own[place]:.1f}" for place in some])
        axes.set(xlim=(-0.7, columns - 0.3), ylim=(rows - 0.3, -0.7), ylabel="query")
        axes.set_xlabel("support, by class" if classes else "support, by target")
        axes.set_title(heading, loc="left")

    return draw
