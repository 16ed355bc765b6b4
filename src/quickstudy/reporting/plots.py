"""Figures of reports: learning curves, paired differences, calibration, failure probes."""

import math
import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator

from quickstudy.evaluation import HIGHER_IS_BETTER, Interval, Probe
from quickstudy.reporting.svg import BAD, GOOD, INK, LINE, MUTED, PAPER, SERIES, Panel, panel

__all__ = [
    "MARKS",
    "Styles",
    "calibration_panels",
    "curve_panels",
    "difference_panels",
    "mark",
    "probe_panels",
    "scale_for",
    "scaled",
]

MARKS = "os^DvPX*"
"""Markers of learners; with its colour, and dashes for baselines, its marker tells a learner from the others."""


def mark(number: int) -> str:
    """The marker of a learner; where colours begin anew, it is another one than the colour had before."""
    return MARKS[(number + number // len(SERIES)) % len(MARKS)]


Styles = Mapping[str, int]
"""Learner → number, by which it is drawn."""

Lines = Sequence[Mapping[str, Any]]
_MOST_POINTS, _MOST_PANELS = 150, 12
_MANY_TIMES = 20.0  # a range beyond this is drawn on a logarithmic scale


def scaled(metric: str) -> tuple[float, str]:
    """What a metric is multiplied by for people, and how it is then called."""
    return {"accuracy": (100.0, "accuracy, %"), "mse": (1.0, "mean squared error")}.get(metric, (1.0, metric))


def curve_panels(logs: Mapping[str, Sequence[Lines]], styles: Styles, baselines: frozenset[str]) -> list[Panel]:
    """Training and validation loss over steps: every run thin, and their mean thick.

    Args:
        logs: by learner, the lines of every run's log.
        styles: how each learner is drawn.
        baselines: those whose lines are dashed.
    """
    panels = []
    for key, title in (("loss", "Training loss"), ("validation", "Validation loss")):
        runs = {name: [points for lines in each if len(points := _points(lines, key))] for name, each in logs.items()}
        runs = {name: each for name, each in runs.items() if each}
        if not runs:
            continue

        def draw(axes: Axes, runs: dict[str, list[np.ndarray]] = runs) -> None:
            for name, each in runs.items():
                number, dash = styles[name], "--" if name in baselines else "-"
                colour = SERIES[number % len(SERIES)]
                if len(each) > 1:
                    for points in each:
                        axes.plot(*points.T, color=colour, lw=0.8, alpha=0.45)
                steps, mean = _mean(each)
                axes.plot(
                    steps,
                    mean,
                    color=colour,
                    lw=2,
                    ls=dash,
                    marker=mark(number),
                    ms=5,
                    markevery=max(1, len(steps) // 5),
                )
            values = np.concatenate([points[:, 1] for each in runs.values() for points in each])
            axes.set(xlabel="steps")
            scale_for(axes, values)

        ends = ", ".join(f"{name} ends at {_mean(each)[1][-1]:.3g}" for name, each in runs.items())
        panels.append(panel(f"curve-{key}", title, f"{title} over steps: {ends}.", draw))
    return panels


def difference_panels(differences: Sequence[Mapping[str, Any]]) -> list[Panel]:
    """A forest plot per learner: how much it differs from each of the others on the same tasks, with 95% intervals.

    Where there would be more than twelve, only the first protocol is drawn; the table has all.
    """
    if len({(each["protocol"], each["first"]) for each in differences}) > _MOST_PANELS:
        differences = [each for each in differences if each["protocol"] == differences[0]["protocol"]]
    several_protocols = len({each["protocol"] for each in differences}) > 1
    grouped: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for each in differences:
        grouped.setdefault((each["protocol"], each["first"]), []).append(each)
    # One range for all panels of a protocol, so that they can be compared by eye.
    panels = []
    for number, ((protocol, first), rows) in enumerate(grouped.items()):
        same = [each for each in differences if each["protocol"] == protocol]
        factor, unit = scaled(rows[0]["metric"])
        unit = "accuracy, percentage points" if rows[0]["metric"] == "accuracy" else unit
        ends = [0.0] + [factor * (d["mean"] + sign * (d["ci95"] or 0)) for d in same for sign in (-1, 1)]
        room = 0.08 * (max(ends) - min(ends) or 1.0)
        better = "right" if HIGHER_IS_BETTER[rows[0]["metric"]] else "left"

        def draw(
            axes: Axes,
            rows: list[Mapping[str, Any]] = rows,
            limits: tuple[float, float] = (min(ends) - room, max(ends) + room),
            factor: float = factor,
            unit: str = unit,
        ) -> None:
            axes.axvline(0, color=INK, lw=1)
            for place, each in enumerate(rows):
                _difference(axes, len(rows) - 1 - place, each, factor, limits)
            labels = [textwrap.fill(each["second"], 18) for each in rows]
            axes.set_yticks(range(len(rows) - 1, -1, -1), labels)
            axes.set(xlabel=unit, ylim=(-0.6, len(rows) - 0.2), xlim=limits)
            axes.tick_params(axis="y", length=0)
            axes.grid(visible=False, axis="y")
            axes.spines["left"].set_visible(False)

        words = "; ".join(f"{each['second']}: {each['words']}" for each in rows)
        panels.append(
            panel(
                f"difference-{number}",
                f"{first} minus …" + (f" ({protocol})" if several_protocols else ""),
                f"Paired differences of {first}: {words}.",
                draw,
                70 + 38 * len(rows),
                f"{better} of zero: {first} is better",
            )
        )
    return panels


def _difference(axes: Axes, place: int, each: Mapping[str, Any], factor: float, limits: tuple[float, float]) -> None:
    mean, half = factor * each["mean"], factor * (each["ci95"] or 0.0)
    verdict = each["words"].split(" (")[0]
    colour, marker, face = {
        "better": (GOOD, "o", GOOD),
        "worse": (BAD, "X", BAD),
    }.get(verdict, (MUTED, "D", PAPER))
    axes.errorbar(mean, place, xerr=half, color=colour, lw=2, capsize=4, marker=marker, ms=8, mfc=face, mew=1.5)
    digits = 1 if factor == 100 else 3
    # Near an edge the words would run out of the picture.
    middle, span = (limits[0] + limits[1]) / 2, limits[1] - limits[0]
    side = "center" if abs(mean - middle) < 0.25 * span else ("right" if mean > middle else "left")
    at = min(max(mean + half, mean), limits[1]) if side == "right" else max(mean - half, limits[0])
    axes.annotate(
        f"{mean:+.{digits}f} ± {half:.{digits}f}".replace("-", "−"),
        (mean if side == "center" else at, place),
        (0, 8),
        textcoords="offset points",
        ha=side,
        fontsize=10,
        bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 0.5},  # the line at zero must not cross the numbers
    )


def calibration_panels(
    calibration: Mapping[str, Sequence[Mapping[str, Any]]], errors: Mapping[str, str], styles: Styles
) -> list[Panel]:
    """A reliability diagram per learner; the area of a point is its share of the predictions.

    Args:
        calibration: by learner, what `reliability` returned.
        errors: by learner, the calibration error as people read it.
        styles: how each learner is drawn.
    """
    panels = []
    for number, (name, bins) in enumerate(list(calibration.items())[:_MOST_PANELS]):
        confidence = np.array([each["confidence"] for each in bins])
        right = np.array([each["right"] for each in bins])
        count = np.array([each["count"] for each in bins], dtype=float)
        share = count / count.sum()
        colour = SERIES[styles[name] % len(SERIES)]

        def draw(
            axes: Axes,
            confidence: np.ndarray = confidence,
            right: np.ndarray = right,
            share: np.ndarray = share,
            colour: str = colour,
        ) -> None:
            axes.plot([0, 1], [0, 1], color=MUTED, lw=1, ls=":")
            axes.vlines(confidence, confidence, right, color=colour, lw=1.2, alpha=0.6)
            axes.plot(confidence, right, color=colour, lw=1, alpha=0.6)
            axes.scatter(confidence, right, s=14 + 300 * share, color=colour, alpha=0.9, linewidths=0, zorder=3)
            axes.set(xlim=(0, 1.04), ylim=(0, 1.04), xlabel="confidence", ylabel="share that is right")
            axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25%", "50%", "75%", "100%"])
            axes.set_yticks([0, 0.5, 1], ["0", "50%", "100%"])

        gap = float(((confidence - right) * share).sum())
        lean = "is more confident than right" if gap > 0.02 else "is less confident than right" if gap < -0.02 else ""
        alt = f"Reliability of {name}, calibration error {errors.get(name, 'unknown')}" + (
            f"; it {lean}" if lean else ""
        )
        caption = f"ECE {errors[name]}" + (f"; on average it {lean}" if lean else "") if name in errors else lean
        panels.append(panel(f"calibration-{number}", name, alt + ".", draw, 220, caption))
    return panels


def probe_panels(
    probes: Mapping[str, Sequence[Probe]], metric: str, styles: Styles, baselines: frozenset[str]
) -> list[Panel]:
    """A panel per way of making tasks harder: the metric of every learner, from tasks as they are to the hardest."""
    grouped: dict[tuple[str, str], dict[str, Probe]] = {}
    for name, each in probes.items():
        for probe in each:
            grouped.setdefault((probe.name, probe.unit), {})[name] = probe
    factor, label = scaled(metric)
    panels = []
    for (title, unit), by_learner in grouped.items():
        levels = next(iter(by_learner.values())).levels
        # Shares that are halved again and again stand at equal distances.
        even = levels[0] > levels[-1]

        def draw(
            axes: Axes,
            by_learner: dict[str, Probe] = by_learner,
            levels: tuple[float, ...] = levels,
            unit: str = unit,
            even: bool = even,
        ) -> None:
            values: list[float] = []
            for name, probe in by_learner.items():
                number = styles[name]
                mean = np.array([factor * value.mean for value in probe.values])
                half = np.array([factor * (0 if math.isnan(value.ci95) else value.ci95) for value in probe.values])
                axes.errorbar(
                    range(len(levels)) if even else levels,
                    mean,
                    yerr=half,
                    color=SERIES[number % len(SERIES)],
                    ls="--" if name in baselines else "-",
                    marker=mark(number),
                    ms=5,
                    lw=1.6,
                    elinewidth=0.9,
                )
                values.extend(mean)
            axes.set(xlabel=unit, ylabel=label)
            if even:
                axes.set_xticks(range(len(levels)), [_share(level) for level in levels])
            else:
                crowded = len(levels) > 4
                shown = [level for i, level in enumerate(levels) if not (crowded and i == 1)]
                axes.set_xticks(shown, [f"{level:g}" for level in shown])
            if metric == "accuracy":
                axes.set_ylim(0, max(100.0 if max(values) > 60 else 1.25 * max(values), 1.0))
            else:
                scale_for(axes, np.array(values))

        words = "; ".join(
            f"{name} from {_said(metric, probe.values[0])} to {_said(metric, probe.values[-1])}"
            for name, probe in by_learner.items()
        )
        slug = re.sub(r"[^a-z]+", "-", f"{title} {unit}".lower())
        changed = next(iter(by_learner.values())).changes
        heading = f"{title} of the queries" if changed == "queries" else title
        panels.append(panel(f"probe-{slug}", heading.capitalize(), f"{heading}: {words}.", draw, 220))
    return panels


def _said(metric: str, value: Interval) -> str:
    return f"{100 * value.mean:.1f}%" if metric == "accuracy" else f"{value.mean:.3g}"


def _share(level: float) -> str:
    return "all" if level == 1 else f"1/{round(1 / level)}"


def _points(lines: Lines, key: str) -> np.ndarray:
    """`[point, 2]`, steps and values; of many, the means of as many in a row as leave no more than 150 or so."""
    points = np.array([(line["step"], line[key]) for line in lines if math.isfinite(line.get(key, math.nan))])
    together = -(-len(points) // _MOST_POINTS)
    if together < 2:
        return points
    return np.array([points[i : i + together].mean(0) for i in range(0, len(points), together)])


def _mean(runs: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The mean over runs from where the last of them begins to where the first ends (it may have stopped early).

    Runs may have been logged at different steps, before and after an interruption say: between these, lines are drawn.
    """
    first, last = max(points[0, 0] for points in runs), min(points[-1, 0] for points in runs)
    if first > last:
        runs = [max(runs, key=len)]
        first, last = runs[0][0, 0], runs[0][-1, 0]
    steps = np.unique(np.concatenate([points[:, 0] for points in runs]))
    steps = steps[(steps >= first) & (steps <= last)]
    return steps, np.mean([np.interp(steps, points[:, 0], points[:, 1]) for points in runs], 0)


def scale_for(axes: Axes, values: np.ndarray) -> None:
    """A logarithmic scale of y where values are positive and span much."""
    positive = values[values > 0]
    if len(positive) == len(values) and values.max() > _MANY_TIMES * values.min():
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.yaxis.set_minor_formatter(lambda *_: "")
    axes.grid(color=LINE)
