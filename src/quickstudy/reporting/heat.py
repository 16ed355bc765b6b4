"""Heat maps: a number for every row and column, as the strength of a colour."""

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from quickstudy.reporting.svg import BAD, GOOD, INK, PAPER, SERIES, Panel, panel

__all__ = ["heat_panel"]

_MOST_WORDS = 8  # with more columns than that there is no room for numbers
_MOST_ROWS = 14  # with more rows than that they are thin, and have no numbers either
_MOST_SAID = 120  # cells that a text lists one by one


def heat_panel(
    name: str,
    title: str,
    values: Float[np.ndarray, "row column"],
    rows: Sequence[str],
    columns: Sequence[str],
    labels: tuple[str, str] = ("", ""),
    caption: str = "",
    *,
    signed: bool = True,
    row_lines: Sequence[int] = (),
    column_lines: Sequence[int] = (),
) -> Panel:
    """A cell for each number: the stronger its colour, the larger the number. A cell that is NaN stays empty.

    Args:
        name: unlike that of any other figure on the page.
        title, caption: above the figure, and below it.
        values: what is drawn.
        rows, columns: their names.
        labels: of the horizontal and the vertical axis.
        signed: whether numbers have a sign, and colours say on which side of zero they are; shares have none.
        row_lines, column_lines: before which rows, and columns, a line parts the cells.
    """
    there = values[~np.isnan(values)]
    largest = float(np.abs(there).max(initial=0.0)) or 1.0
    thin = len(rows) > _MOST_ROWS
    written = len(columns) <= _MOST_WORDS and not thin

    def draw(axes: Axes) -> None:
        for (row, column), value in np.ndenumerate(values):
            if np.isnan(value):
                continue
            colour = (GOOD if value > 0 else BAD) if signed else SERIES[0]
            # Numbers must be read on the strongest colour too.
            style: dict[str, Any] = {"color": colour, "alpha": 0.65 * abs(value) / largest, "lw": 0}
            axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, **style))
            if written:
                words = (f"{value:+.2g}" if signed else f"{value:.2f}").replace("-", "−")
                axes.annotate(words, (column, row), ha="center", va="center", fontsize=10, color=INK)
        for line in row_lines:
            axes.axhline(line - 0.5, color=PAPER, lw=4)
        for line in column_lines:
            axes.axvline(line - 0.5, color=PAPER, lw=4)
        shown = range(0, len(columns), max(1, -(-len(columns) // _MOST_WORDS)))
        axes.set_xticks(list(shown), [textwrap.fill(columns[place], 12) for place in shown])
        axes.set_yticks(range(len(rows)), [textwrap.fill(row, 20) for row in rows], fontsize=8 if thin else 10)
        axes.set(xlim=(-0.5, len(columns) - 0.5), ylim=(len(rows) - 0.5, -0.5), xlabel=labels[0], ylabel=labels[1])
        axes.tick_params(length=0)
        axes.grid(visible=False)

    alt = f"{title}, from row to column: {_said(values, rows, columns)}."
    return panel(name, title, alt, draw, 70 + (12 if thin else 26) * len(rows), caption)


def _said(values: Float[np.ndarray, "row column"], rows: Sequence[str], columns: Sequence[str]) -> str:
    """Every number, or of many the lowest and the highest of every row."""
    if values.size <= _MOST_SAID:
        return "; ".join(
            f"{row}: " + ", ".join(f"{column} {_number(value)}" for column, value in zip(columns, line, strict=True))
            for row, line in zip(rows, values, strict=True)
        )
    parts = []
    for row, line in zip(rows, values, strict=True):
        if np.isnan(line).all():
            parts.append(f"{row}: none")
            continue
        low, high = int(np.nanargmin(line)), int(np.nanargmax(line))
        ends = f"lowest {_number(line[low])} at {columns[low]}, highest {_number(line[high])} at {columns[high]}"
        parts.append(f"{row}: {ends}")
    return "; ".join(parts)


def _number(value: float) -> str:
    return "none" if np.isnan(value) else f"{value:.2g}"
