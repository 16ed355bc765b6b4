"""Δ of every named task: how much learning together changes it, against learning it alone."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from quickstudy.evaluation import HIGHER_IS_BETTER
from quickstudy.reporting.plots import scaled
from quickstudy.reporting.svg import INK, SERIES, Panel, panel

__all__ = ["delta_panels"]

_MOST_TASKS = 12


def delta_panels(differences: Sequence[Mapping[str, Any]]) -> list[Panel]:
    """A figure for every baseline and metric: a row for each learner, and in it a bar for each task with its interval.

    Right of zero the learner is better than the baseline, whatever the metric. None where protocols are not single
    tasks.

    Args:
        differences: those of a card.
    """
    single = [each for each in differences if each["tasks"] == 1 and each["protocol"] != "all"]
    panels: list[Panel] = []
    several = len({each["protocol"] for each in single}) > 1
    for baseline, metric in dict.fromkeys((each["second"], each["metric"]) for each in single):
        rows = [each for each in single if (each["second"], each["metric"]) == (baseline, metric)]
        tasks = list(dict.fromkeys(each["protocol"] for each in rows))
        if several and len(tasks) <= _MOST_TASKS:
            panels.append(_panel(f"delta-{len(panels)}", baseline, metric, tasks, rows))
    return panels


def _panel(name: str, baseline: str, metric: str, tasks: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> Panel:
    learners = list(dict.fromkeys(each["first"] for each in rows))
    factor, unit = scaled(metric)
    sign = factor if HIGHER_IS_BETTER[metric] else -factor
    by = {(each["first"], each["protocol"]): each for each in rows}
    height = 0.8 / len(tasks)

    def draw(axes: Axes) -> None:
        for number, task in enumerate(tasks):
            found = [by[learner, task] for learner in learners]
            axes.barh(
                np.arange(len(learners)) + (number - (len(tasks) - 1) / 2) * height,
                [sign * each["mean"] for each in found],
                height,
                xerr=[factor * (each["ci95"] or 0.0) for each in found],
                color=SERIES[number % len(SERIES)],
                ecolor=INK,
                error_kw={"lw": 1, "capsize": 2},
                label=task,
            )
        axes.axvline(0, color=INK, lw=1)
        axes.set_yticks(range(len(learners)), learners)
        axes.set(xlabel=f"{unit}: better by", ylim=(len(learners) - 0.5, -0.5))
        axes.tick_params(axis="y", length=0)
        axes.grid(visible=False, axis="y")
        axes.legend(frameon=False, fontsize=9, ncols=min(3, len(tasks)), loc="lower center", bbox_to_anchor=(0.5, 1.0))

    words = "; ".join(
        f"{learner}, {task}: {sign * by[learner, task]['mean']:+.3g}" for learner in learners for task in tasks
    )
    return panel(
        name,
        f"Every task against {baseline}",
        f"How much better than {baseline}, in {unit}: {words}.",
        draw,
        90 + len(learners) * (14 + 10 * len(tasks)),
        f"right of zero: better than {baseline}",
    )
