"""Figures of a report on sharing: Δ of every task, who helps whom, and where gradients agree."""

import textwrap

import numpy as np
from matplotlib.axes import Axes

from quickstudy.evaluation import Interval, SharingReport
from quickstudy.reporting.heat import heat_panel
from quickstudy.reporting.svg import BAD, GOOD, INK, MUTED, PAPER, Panel, panel

__all__ = ["sharing_panels"]


def sharing_panels(report: SharingReport) -> list[Panel]:
    """Four figures: Δ of every task with 95% intervals; gains that the groups were chosen by; cosines of gradients
    between tasks; and their mean over pairs, layer by layer over training."""
    tasks = list(report.tasks)
    between = ~np.eye(len(tasks), dtype=bool)
    cosines = np.nan_to_num(report.cosines)
    gains = np.where(between, report.gains, np.nan)
    percent = report.pairs is not None
    return [
        _changes(report),
        heat_panel(
            "sharing-gains",
            "What each task gains from another" if percent else "Affinity of tasks",
            100 * gains if percent else gains,
            tasks,
            tasks,
            ("helped", "helper"),
            "Δ of the helped task trained with the helper alone, in %, on validation examples"
            if percent
            else "part by which a step for the helper lowers the loss of the helped, mean over training",
        ),
        heat_panel(
            "sharing-cosines",
            "Cosines of gradients",
            np.where(between, cosines.mean((0, 1)), np.nan),
            tasks,
            tasks,
            ("", ""),
            "mean over layers and training; below zero the tasks are in conflict",
        ),
        heat_panel(
            "sharing-layers",
            "Cosines over training",
            cosines[..., between].mean(-1).T,
            list(report.layers),
            [str(step) for step in report.steps],
            ("steps", ""),
            "mean over pairs of tasks",
        ),
    ]


def _changes(report: SharingReport) -> Panel:
    rows: list[tuple[str, Interval]] = []
    for task in report.tasks:
        rows.append((f"{task}, with all", report.delta[task]))
        if report.delta_grouped[task].mean or report.delta_grouped[task].ci95 > 0:
            rows.append((f"{task}, in its group", report.delta_grouped[task]))

    def draw(axes: Axes) -> None:
        axes.axvline(0, color=INK, lw=1)
        for place, (_, value) in enumerate(rows):
            colour, face = (GOOD, GOOD) if value.low > 0 else (BAD, BAD) if value.high < 0 else (MUTED, PAPER)
            half = 100 * np.nan_to_num(value.ci95)
            axes.errorbar(100 * value.mean, place, xerr=half, color=colour, lw=2, capsize=4, marker="o", ms=7, mfc=face)
        axes.set_yticks(range(len(rows)), [textwrap.fill(name, 24) for name, _ in rows])
        axes.set(xlabel="change against alone, %", ylim=(len(rows) - 0.5, -0.5))
        axes.tick_params(axis="y", length=0)
        axes.grid(visible=False, axis="y")
        axes.spines["left"].set_visible(False)

    words = "; ".join(f"{name}: {100 * value.mean:+.1f} ± {100 * value.ci95:.1f}%" for name, value in rows)
    title = "Every task against itself alone"
    return panel("sharing-change", title, f"{title}: {words}.", draw, 70 + 28 * len(rows), "right of zero: better")
