"""One task against the other: who is better at both, and who only at the one."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes

from quickstudy.evaluation import HIGHER_IS_BETTER
from quickstudy.reporting.cards import entries
from quickstudy.reporting.labels import label_points
from quickstudy.reporting.plots import Styles, mark, scaled
from quickstudy.reporting.svg import MUTED, SERIES, Panel, panel

__all__ = ["pareto_panels", "undominated"]


def pareto_panels(card: Mapping[str, Any], styles: Styles) -> list[Panel]:
    """The plane of two tasks, better to the right and upwards. None unless a card has two single tasks, and several
    contestants.

    Args:
        card: see `quickstudy.reporting.card`.
        styles: how each contestant is drawn.
    """
    tasks = [name for name, about in card["protocol"].items() if about.get("tasks") == 1 and name != "all"]
    learners = entries(card)
    if len(tasks) != 2 or len(learners) < 2 or card.get("axis"):
        return []
    metrics = [_metric(card, task) for task in tasks]
    keys = [f"{task}.{metric}" for task, metric in zip(tasks, metrics, strict=True)]
    scored = {name: [entry["metrics"].get(key) for key in keys] for name, entry in learners.items()}
    scored = {name: each for name, each in scored.items() if all(one and np.isfinite(one["mean"]) for one in each)}
    if len(scored) < 2:
        return []
    factors = np.array([scaled(metric)[0] for metric in metrics])
    means = factors * np.array([[one["mean"] for one in each] for each in scored.values()])
    halves = factors * np.array([[one["ci95"] or 0.0 for one in each] for each in scored.values()])
    higher = [HIGHER_IS_BETTER.get(metric, True) for metric in metrics]
    front = undominated(means * np.where(higher, 1, -1))
    names = list(scored)

    def draw(axes: Axes) -> None:
        order = np.flatnonzero(front)[np.argsort(means[front, 0])]
        axes.plot(*means[order].T, color=MUTED, lw=1.2, ls=":", zorder=1)
        for name, mean, half in zip(names, means, halves, strict=True):
            colour = SERIES[styles[name] % len(SERIES)]
            axes.errorbar(mean[0], mean[1], half[1], half[0], color=colour, lw=0.9, alpha=0.45, zorder=2)
            axes.plot(*mean, color=colour, marker=mark(styles[name]), ms=7, ls="", zorder=3)
        for number, (task, metric) in enumerate(zip(tasks, metrics, strict=True)):
            label = f"{task}: {scaled(metric)[1]}" + ("" if higher[number] else ", less is better")
            axes.set(**{"xy"[number] + "label": label})
        axes.margins(0.06)
        axes.locator_params(axis="x", nbins=4)
        axes.locator_params(axis="y", nbins=7)
        if not higher[0]:
            axes.invert_xaxis()
        if not higher[1]:
            axes.invert_yaxis()
        label_points(axes, means, names)

    best = [name for name, there in zip(names, front, strict=True) if there]
    said = "; ".join(
        f"{name}: {tasks[0]} {mean[0]:.4g}, {tasks[1]} {mean[1]:.4g}" for name, mean in zip(names, means, strict=True)
    )
    by_no_one = (
        f"{best[0]} is beaten by no one in either task"
        if len(best) == 1
        else f"beaten by no one in both tasks: {', '.join(best)} (dotted line)"
    )
    caption = f"better to the right and upwards; by the means, {by_no_one}; crosses are 95% intervals"
    if not halves.any():
        caption = caption.removesuffix("; crosses are 95% intervals")
    title = f"{tasks[0]} against {tasks[1]}"
    return [panel("pareto", title, f"{title}. {said}. By the means, {by_no_one}.", draw, 330, caption)]


def undominated(values: Float[np.ndarray, "point objective"]) -> Bool[np.ndarray, " point"]:
    """Which points no other equals or exceeds in every objective while exceeding it in one."""
    as_good = np.all(values[None] >= values[:, None], axis=-1)
    better = np.any(values[None] > values[:, None], axis=-1)
    return np.asarray(~np.any(as_good & better, axis=1))


def _metric(card: Mapping[str, Any], task: str) -> str:
    """By what a task is scored: what its protocol says, or the first of its metrics."""
    said = card["protocol"][task].get("metric")
    if said is not None:
        return str(said)
    return next((key.removeprefix(f"{task}.") for key in card["metrics"] if key.startswith(f"{task}.")), "")
