"""Sweeps: how a score moves along an axis, such as the number of training classes or the shots of the test."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from quickstudy.evaluation import Interval
from quickstudy.reporting.cards import entries
from quickstudy.reporting.headline import compared_by
from quickstudy.reporting.plots import mark, scaled
from quickstudy.reporting.svg import SERIES, Panel, panel

__all__ = ["sweep_lines", "sweep_panels"]

Line = list[tuple[float, Interval]]
_MANY_TIMES = 8.0  # an axis that spans more is drawn on a logarithmic scale


def sweep_lines(card: Mapping[str, Any]) -> dict[str, dict[str, Line]]:
    """The lines of a sweep: by protocol (or, of a sweep over tests, for all together), by series, (where, score)."""
    learners, metric, tests = entries(card), compared_by(card), card.get("tests at", {})
    lines: dict[str, dict[str, Line]] = {}
    for name, entry in learners.items():
        for key, value in entry["metrics"].items():
            protocol, _, measured = key.rpartition(".")
            if measured != metric:
                continue
            if entry.get("at") is not None:
                group, series, at = protocol, entry.get("series") or "all", entry["at"]
            elif protocol in tests:
                # Tests that differ in more than where they stand on the axis are lines of their own.
                group, series, at = _kind(protocol, tests), name, tests[protocol]
            else:
                continue
            lines.setdefault(group, {}).setdefault(series, []).append((float(at), Interval.from_json(value)))
    return {
        group: {series: sorted(line, key=lambda point: point[0]) for series, line in each.items()}
        for group, each in lines.items()
    }


def _kind(protocol: str, tests: Mapping[str, float]) -> str:
    """A protocol's name without where it stands: `5way1shot` at 1 is of the kind `5way…shot`."""
    at = f"{tests[protocol]:g}"
    head, found, tail = protocol.rpartition(at)
    return f"{head}…{tail}" if found else protocol


def sweep_panels(card: Mapping[str, Any]) -> tuple[list[Panel], dict[str, int]]:
    """A panel per protocol, with a line per series; and the number by which each series is drawn."""
    groups = sweep_lines(card) if card.get("axis") else {}
    numbers = {name: i for i, name in enumerate(dict.fromkeys(name for each in groups.values() for name in each))}
    factor, label = scaled(compared_by(card))
    panels = []
    for number, (group, each) in enumerate(groups.items()):

        def draw(axes: Axes, each: dict[str, Line] = each) -> None:
            places = sorted({at for line in each.values() for at, _ in line})
            for name, line in each.items():
                colour = SERIES[numbers[name] % len(SERIES)]
                axes.errorbar(
                    [at for at, _ in line],
                    [factor * value.mean for _, value in line],
                    yerr=[factor * np.nan_to_num(value.ci95) for _, value in line],
                    color=colour,
                    marker=mark(numbers[name]),
                    ms=5,
                    lw=1.6,
                    elinewidth=0.9,
                )
            if places[0] > 0 and places[-1] > _MANY_TIMES * places[0]:
                axes.set_xscale("log")
                axes.minorticks_off()
            axes.set_xticks(places, [f"{at:g}" for at in places])
            axes.set(xlabel=card["axis"], ylabel=label)

        words = "; ".join(
            f"{name} from {factor * line[0][1].mean:.3g} at {line[0][0]:g} to {factor * line[-1][1].mean:.3g} at "
            f"{line[-1][0]:g}"
            for name, line in each.items()
        )
        panels.append(panel(f"sweep-{number}", group, f"{label} along {card['axis']}: {words}.", draw, 230))
    return panels, numbers
