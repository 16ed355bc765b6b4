"""Figures of a report on sharing: Δ of every task, who helps whom, and where gradients agree."""

import textwrap
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from quickstudy.evaluation import Interval, SharingReport
from quickstudy.reporting.svg import BAD, GOOD, INK, MUTED, PAPER, Panel, panel

__all__ = ["sharing_panels"]

_MOST_WORDS = 8  # with more columns than that there is no room for numbers


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
        _heat(
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
        _heat(
            "sharing-cosines",
            "Cosines of gradients",
            np.where(between, cosines.mean((0, 1)), np.nan),
            tasks,
            tasks,
            ("", ""),
            "mean over layers and training; below zero the tasks are in conflict",
        ),
        _heat(
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


def _heat(
    name: str,
    title: str,
    values: Float[np.ndarray, "row column"],
    rows: list[str],
    columns: list[str],
    labels: tuple[str, str],
    caption: str,
) -> Panel:
    """A cell for each number: its colour says whether it is above or below zero, and the strength of it how far."""
    largest = np.nanmax(np.abs(values)) or 1.0
    narrow = len(columns) <= _MOST_WORDS

    def draw(axes: Axes) -> None:
        for (row, column), value in np.ndenumerate(values):
            if np.isnan(value):
                continue
            style: dict[str, Any] = {"color": GOOD if value > 0 else BAD, "alpha": 0.85 * abs(value) / largest, "lw": 0}
            axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, **style))
            if narrow:
                words = f"{value:+.2g}".replace("-", "−")
                axes.annotate(words, (column, row), ha="center", va="center", fontsize=10, color=INK)
        shown = range(0, len(columns), max(1, -(-len(columns) // _MOST_WORDS)))
        axes.set_xticks(list(shown), [textwrap.fill(columns[place], 12) for place in shown])
        axes.set_yticks(range(len(rows)), rows)
        axes.set(xlim=(-0.5, len(columns) - 0.5), ylim=(len(rows) - 0.5, -0.5), xlabel=labels[0], ylabel=labels[1])
        axes.tick_params(length=0)
        axes.grid(visible=False)

    words = "; ".join(
        f"{row}: " + ", ".join(f"{column} {value:.2g}" for column, value in zip(columns, line, strict=True))
        for row, line in zip(rows, values, strict=True)
    )
    return panel(name, title, f"{title}, from row to column: {words}.", draw, 70 + 26 * len(rows), caption)
