"""Pictures for reports: learning curves, and one task as its learner sees it."""

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from quickstudy.learners import Learner
from quickstudy.tasks import TaskBatch

__all__ = ["as_data_uri", "curves", "task_picture"]

_RIGHT, _WRONG, _SUPPORT = "#2a9d4a", "#d1352b", "#888888"
_MOST_QUERIES = 10  # per class drawn


def as_data_uri(figure: Figure) -> str:
    """A figure as a PNG that an HTML page can hold."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120, bbox_inches="tight")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def curves(logs: Mapping[str, Sequence[Sequence[dict[str, Any]]]]) -> Figure:
    """Training and validation loss over steps; a line per learner, thin for every run.

    Args:
        logs: by learner, the lines of every run's log.
    """
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    for index, (name, runs) in enumerate(logs.items()):
        for run, lines in enumerate(runs):
            label = name if run == 0 else None
            for axes, key in ((left, "loss"), (right, "validation")):
                points = [(line["step"], line[key]) for line in lines if key in line]
                if points:
                    axes.plot(*zip(*points, strict=True), color=f"C{index}", lw=1, label=label)
    for axes, title in ((left, "training loss"), (right, "validation loss")):
        axes.set(title=title, xlabel="steps")
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend(fontsize=8)
    return figure


@torch.no_grad()
def task_picture(learners: Mapping[str, Learner], batch: TaskBatch) -> Figure:
    """The first task of `batch` and what the learners predict: images, a curve, or predicted against true values."""
    task = batch[0]

    def prediction(learner: Learner) -> Any:
        phi = learner.eval().adapt(task.support, task.classes)
        return learner.predict(phi, task.query.x, task.query.mask)

    if task.classes is None:
        return _regression(task, {name: prediction(learner).mean[0] for name, learner in learners.items()})
    if isinstance(task.query.x, torch.Tensor) and task.query.x.ndim == 5:  # images: the first learner's reading
        name, learner = next(iter(learners.items()))
        return _images(task, name, prediction(learner).probs[0])
    return _confidence(task, {name: prediction(learner).probs[0] for name, learner in learners.items()})


def _images(task: TaskBatch, name: str, probs: torch.Tensor) -> Figure:
    """A row per class: its support, then queries framed green or red with the prediction's confidence."""
    ways = [int(way) for way in task.classes[0].nonzero()[:, 0]]
    shots = max(int((task.support.mask[0] & (task.support.y[0] == way)).sum()) for way in ways)
    columns = min(shots, 5) + _MOST_QUERIES
    figure = Figure(figsize=(0.8 * columns, 0.95 * len(ways)), layout="constrained")
    figure.suptitle(f"one test task: support (grey), queries as {name} reads them", fontsize=9)
    grid = figure.subplots(len(ways), columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for row, way in zip(grid, ways, strict=True):
        support = (task.support.mask[0] & (task.support.y[0] == way)).nonzero()[:, 0][:5]
        for axes, index in zip(row, support, strict=False):
            _picture(axes, task.support.x[0, index], _SUPPORT, f"class {way + 1}")
        query = (task.query.mask[0] & (task.query.y[0] == way)).nonzero()[:, 0][:_MOST_QUERIES]
        for axes, index in zip(row[min(shots, 5) :], query, strict=False):
            chosen = int(probs[index].argmax())
            colour = _RIGHT if chosen == way else _WRONG
            _picture(axes, task.query.x[0, index], colour, f"{chosen + 1}: {100 * float(probs[index, chosen]):.0f}%")
    return figure


def _picture(axes: Axes, image: torch.Tensor, colour: str, text: str) -> None:
    pixels = image.movedim(0, -1).cpu().numpy()
    axes.imshow(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels, cmap="gray", vmin=0, vmax=1)
    axes.set_axis_on()
    axes.set(xticks=[], yticks=[])
    axes.set_title(text, fontsize=7, color=colour, pad=2)
    for spine in axes.spines.values():
        spine.set(color=colour, linewidth=2.5)


def _regression(task: TaskBatch, means: Mapping[str, torch.Tensor]) -> Figure:
    x, y = task.query.x[0].cpu().numpy(), task.query.y[0].cpu().numpy()
    real = task.query.mask[0].cpu().numpy()
    figure = Figure(figsize=(7, 3.6), layout="constrained")
    axes = figure.subplots()
    if x.reshape(len(x), -1).shape[1] == 1:
        order = np.argsort(x.reshape(-1))
        flat = x.reshape(-1)[order]
        axes.plot(flat, y.reshape(len(x), -1)[order, 0], color="black", lw=3, alpha=0.25, label="truth")
        for index, (name, mean) in enumerate(means.items()):
            axes.plot(flat, mean.cpu().numpy().reshape(len(x), -1)[order, 0], color=f"C{index}", label=name)
        shown = task.support.mask[0]
        axes.plot(task.support.x[0][shown].cpu().reshape(-1), task.support.y[0][shown].cpu(), "k^", label="support")
        axes.set(title="one test task", xlabel="x", ylabel="y")
    else:
        for index, (name, mean) in enumerate(means.items()):
            axes.plot(y[real].reshape(-1), mean.cpu().numpy()[real].reshape(-1), ".", color=f"C{index}", label=name)
        axes.axline((float(y[real].mean()),) * 2, slope=1, color="grey", lw=1)
        axes.set(title="one test task", xlabel="true", ylabel="predicted")
    axes.legend(fontsize=8)
    return figure


def _confidence(task: TaskBatch, probs: Mapping[str, torch.Tensor]) -> Figure:
    """The probability that each learner gives to the true class of every query."""
    real = task.query.mask[0]
    labels = task.query.y[0][real]
    figure = Figure(figsize=(7, 3.2), layout="constrained")
    axes = figure.subplots()
    for index, (name, p) in enumerate(probs.items()):
        values = p[real].gather(1, labels[:, None])[:, 0].cpu().sort(descending=True).values
        axes.step(np.arange(len(values)), values, where="mid", color=f"C{index}", label=name)
    axes.set(
        title="one test task", xlabel="queries, most certain first", ylabel="probability of the true class", ylim=(0, 1)
    )
    axes.legend(fontsize=8)
    return figure
