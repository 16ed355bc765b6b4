"""How learners adapt, as figures: losses and gradients by inner step, and which layers move."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from quickstudy.evaluation import Adaptation, Course, Interval
from quickstudy.reporting.plots import Styles, mark, scale_for, scaled
from quickstudy.reporting.svg import INK, LINE, PAPER, SERIES, Draw, Panel, panel, stacked

__all__ = ["adaptation_panels", "draw_gradients", "draw_layer_steps", "draw_layers", "draw_steps"]

Found: TypeAlias = Adaptation | Mapping[str, Adaptation]

_MOST_LAYERS, _MOST_COLUMNS = 24, 6
_LONGEST = 24  # letters of a layer's name
_CALLED = {"nll": "loss, nats per example"}


def adaptation_panels(found: Found, styles: Styles | None = None, name: str = "adaptation") -> list[Panel]:
    """All figures: loss and metric by step, gradients by step, change by layer, and change by layer and step.

    Args:
        found: what `inspect_adaptation` returned, of one learner or of several by name.
        styles: learner → number, by which it is drawn; by default in order.
        name: ids in the figures begin with it.
    """
    metric = next(iter(_named(found).values())).metric
    return [
        draw_steps(found, "nll", styles, f"{name}-nll"),
        draw_steps(found, metric, styles, f"{name}-{metric}"),
        draw_gradients(found, styles, f"{name}-gradients"),
        draw_layers(found, styles, f"{name}-layers"),
        draw_layer_steps(found, styles, f"{name}-layer-steps"),
    ]


def draw_steps(found: Found, metric: str = "nll", styles: Styles | None = None, name: str = "steps") -> Panel:
    """A metric of support and query before the first inner step and after every one, with 95% intervals.

    Args:
        found, styles: as of `adaptation_panels`.
        metric: `nll`, the loss in nats per example, or what the tasks are measured by, such as `accuracy`.
        name: ids in the figure begin with it.

    Raises:
        ValueError: the tasks have no such metric.
    """
    learners = _named(found)
    for each in learners.values():
        if metric not in each.query:
            raise ValueError(f"metric must be one of {', '.join(sorted(each.query))}, got {metric!r}")
    factor, label = scaled(metric)
    label = _CALLED.get(metric, label)

    def draw(axes: Axes) -> None:
        values: list[float] = []
        for number, (learner, each) in _numbered(learners, styles):
            for part, course, dash in (("query", each.query[metric], "-"), ("support", each.support.get(metric), ":")):
                if course is not None:
                    called = part if len(learners) == 1 else f"{learner}, {part}"
                    values += _line(axes, course, number, called, dash, factor, 0.15 if len(learners) == 1 else 0.07)
        axes.set(ylabel=label)
        if metric == "accuracy":
            axes.set_ylim(0, 100)
        else:
            scale_for(axes, np.array(values))
        _by_step(axes)

    words = "; ".join(
        f"{learner}: of the query from {factor * each.query[metric][0].mean:.3g} to "
        f"{factor * each.query[metric][-1].mean:.3g} in {each.steps} steps"
        for learner, each in learners.items()
    )
    title = f"{label.split(',')[0]} by inner step".capitalize()
    return panel(name, title, f"{title}. {words}.", draw, 200 + _legend_height(2 * len(learners)))


def draw_gradients(found: Found, styles: Styles | None = None, name: str = "gradients") -> Panel:
    """The norm of what each inner step goes down, over all layers, with 95% intervals.

    Args:
        found, styles, name: as of `draw_steps`.
    """
    learners = _named(found)

    def draw(axes: Axes) -> None:
        values: list[float] = []
        for number, (learner, each) in _numbered(learners, styles):
            values += _line(axes, each.gradient, number, learner, "-")
        axes.set(ylabel="norm of the gradient")
        scale_for(axes, np.array(values))
        _by_step(axes, legend=len(learners) > 1)

    words = "; ".join(
        f"{learner}: from {each.gradient[0].mean:.3g} to {each.gradient[-1].mean:.3g}"
        for learner, each in learners.items()
    )
    title = "Inner gradient by step"
    return panel(
        name, title, f"Norm of the inner gradient by step. {words}.", draw, 200 + _legend_height(len(learners))
    )


def draw_layers(found: Found, styles: Styles | None = None, name: str = "layers") -> Panel:
    """Which layers move: how far each is, after the last inner step, from where it began, with 95% intervals.

    Of networks with many layers, those that move most are drawn.

    Args:
        found, styles, name: as of `draw_steps`.
    """
    learners = _named(found)
    layers, note = _layers(learners)
    apart = 0.6 / len(learners)

    def draw(axes: Axes) -> None:
        most = max([0.0, *(_high(each.changes[layer][-1]) for each in learners.values() for layer in each.changes)])
        for order, (number, (learner, each)) in enumerate(_numbered(learners, styles)):
            places = np.arange(len(layers)) + apart * (order - (len(learners) - 1) / 2)
            _bars(axes, each, dict(zip(layers, places, strict=True)), number, learner, 0.8 * apart)
            if len(learners) == 1:
                for layer, place in zip(layers, places, strict=True):
                    _say(axes, each, layer, place)
        axes.set_yticks(range(len(layers)), [_short(layer) for layer in layers])
        axes.set(xlabel=_UNIT, xlim=(0, 1.2 * most or 1.0), ylim=(len(layers) - 0.4, -0.6))
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0, pad=7)
        if len(learners) > 1:
            _legend(axes)

    ends = "; ".join(
        f"{learner}: "
        + ", ".join(f"{layer} {each.changes[layer][-1].mean:.2g}" for layer in layers if layer in each.changes)
        for learner, each in learners.items()
    )
    hollow = any(layer in each.still for each in learners.values() for layer in layers)
    caption = [note, "Hollow: does not adapt." if hollow else "", _about_absolute(learners)]
    return panel(
        name,
        "Which layers move",
        f"Change by layer after the last inner step. {ends}.",
        draw,
        60 + len(layers) * max(20, 13 * len(learners)) + _legend_height(len(learners)),
        " ".join(filter(None, caption)),
    )


def _bars(axes: Axes, each: Adaptation, places: Mapping[str, float], number: int, label: str, thickness: float) -> None:
    """A bar with its interval for each layer that adapts, a hollow marker for each that does not."""
    colour = SERIES[number % len(SERIES)]
    ends = {layer: each.changes[layer][-1] for layer in places if layer in each.changes}
    at, mean = [places[layer] for layer in ends], [end.mean for end in ends.values()]
    half = np.nan_to_num([end.ci95 for end in ends.values()])
    axes.barh(at, mean, thickness, color=colour, alpha=0.35, lw=0)
    axes.errorbar(mean, at, xerr=half, ls="", color=colour, marker=mark(number), ms=6, elinewidth=1.2, label=label)
    still = [place for layer, place in places.items() if layer in each.still]
    zero = [0.0] * len(still)
    axes.plot(zero, still, ls="", marker=mark(number), ms=6, mec=colour, mfc=PAPER, mew=1.2, clip_on=False)


def _say(axes: Axes, each: Adaptation, layer: str, place: float) -> None:
    """The number beside a bar."""
    if layer in each.changes:
        end = each.changes[layer][-1]
        axes.annotate(f"{end.mean:.2g}", (_high(end), place), (5, 0), textcoords="offset points", va="center")


def draw_layer_steps(found: Found, styles: Styles | None = None, name: str = "layer-steps") -> Panel:
    """How far each layer is from where it began, after each inner step: the stronger the colour, the farther.

    Args:
        found, styles, name: as of `draw_steps`. Learners stand one below the other.
    """
    learners = _named(found)
    draws: list[tuple[float, Draw]] = []
    notes = []
    for number, (learner, each) in _numbered(learners, styles):
        layers, note = _layers({learner: each}, still=False)
        heading = learner if len(learners) > 1 else ""
        draws.append((55 + 20 * len(layers), _cells(each, layers, heading, SERIES[number % len(SERIES)])))
        notes.append(note)
    words = "; ".join(
        f"{learner}: after the last step most in {max(each.changes, key=lambda layer: each.changes[layer][-1].mean)}"
        for learner, each in learners.items()
    )
    caption = f"Numbers: {_UNIT}. {_about_absolute(learners)} {next(filter(None, notes), '')}"
    return stacked(name, "Change by layer and step", f"Change by layer and step. {words}.", draws, caption.strip())


_UNIT = "change, ‖φ − θ‖ / ‖θ‖"


def _cells(each: Adaptation, layers: Sequence[str], heading: str, colour: str) -> Draw:
    """A row of cells for each layer, a cell for each of some steps; what moved most is in the strongest colour."""
    most = max([0.0, *(course[-1].mean for course in each.changes.values())]) or 1.0
    steps = [*dict.fromkeys(np.linspace(min(1, each.steps), each.steps, _MOST_COLUMNS).round().astype(int).tolist())]

    def draw(axes: Axes) -> None:
        for row, layer in enumerate(layers):
            for column, step in enumerate(steps):
                moved = each.changes[layer][step].mean
                # Up to half of full colour: letters stay readable on it, in light and in dark.
                share = 0.55 * min(1.0, moved / most)
                axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, fc=colour, alpha=share, lw=0))
                axes.text(column, row, f"{moved:.2g}", ha="center", va="center", color=INK, fontsize=10)
        axes.set(xlim=(-0.5, len(steps) - 0.5), ylim=(len(layers) - 0.5, -0.5), xlabel="inner step")
        axes.set_xticks(range(len(steps)), [str(step) for step in steps])
        axes.set_yticks(range(len(layers)), [_short(layer) for layer in layers])
        axes.tick_params(length=0)
        axes.grid(visible=False)
        for side in ("left", "bottom"):
            axes.spines[side].set_visible(False)
        if heading:
            axes.set_title(heading, loc="left")

    return draw


def _named(found: Found) -> Mapping[str, Adaptation]:
    """The learners by name; one alone needs none.

    Raises:
        ValueError: there is none.
    """
    learners = {"the learner": found} if isinstance(found, Adaptation) else found
    if not learners:
        raise ValueError("found is empty: there must be the adaptation of at least one learner")
    return learners


def _numbered(learners: Mapping[str, Adaptation], styles: Styles | None) -> list[tuple[int, tuple[str, Adaptation]]]:
    return [
        (number if styles is None else styles[learner], (learner, each))
        for number, (learner, each) in enumerate(learners.items())
    ]


def _line(
    axes: Axes, course: Course, number: int, label: str, dash: str, factor: float = 1.0, band: float = 0.15
) -> list[float]:
    """A course with the band of its intervals; the means."""
    mean = factor * np.array([each.mean for each in course])
    half = factor * np.nan_to_num([each.ci95 for each in course])
    colour = SERIES[number % len(SERIES)]
    steps = range(len(course))
    axes.fill_between(steps, mean - half, mean + half, color=colour, alpha=band, lw=0)
    hollow: Any = {"mfc": PAPER} if dash != "-" else {}
    every = max(1, len(course) // 10)
    axes.plot(
        steps, mean, color=colour, ls=dash, lw=1.8, marker=mark(number), ms=5, markevery=every, label=label, **hollow
    )
    return mean.tolist()


def _by_step(axes: Axes, legend: bool = True) -> None:
    axes.set(xlabel="inner steps")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(color=LINE)
    if legend:
        _legend(axes)


_LEGEND_COLUMNS = 2


def _legend(axes: Axes) -> None:
    """Above the axes, where it hides nothing."""
    names = axes.get_legend_handles_labels()[1]
    columns = _LEGEND_COLUMNS if max(map(len, names), default=0) <= 20 else 1
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=columns,
        frameon=False,
        fontsize=10,
        borderaxespad=0,
        columnspacing=1,
    )


def _legend_height(lines: int) -> float:
    return 15.0 * math.ceil(lines / _LEGEND_COLUMNS)


def _layers(learners: Mapping[str, Adaptation], still: bool = True) -> tuple[list[str], str]:
    """The layers to draw, and what to say where there are too many: those that move most of all learners."""
    names = [layer for each in learners.values() for layer in each.changes]
    names += [layer for each in learners.values() for layer in each.still if still]
    moved = dict.fromkeys(names, 0.0)
    for each in learners.values():
        for layer, course in each.changes.items():
            moved[layer] = max(moved[layer], course[-1].mean)
    most = sorted(moved, key=lambda layer: -moved[layer])[:_MOST_LAYERS]
    note = f"The {_MOST_LAYERS} of {len(moved)} layers that move most." if len(moved) > len(most) else ""
    return [layer for layer in moved if layer in most], note


def _short(layer: str) -> str:
    """A layer's name without what all but the head begin with."""
    name = layer.removeprefix("network.")
    return name if len(name) <= _LONGEST else "…" + name[1 - _LONGEST :]


def _about_absolute(learners: Mapping[str, Adaptation]) -> str:
    absolute = dict.fromkeys(_short(layer) for each in learners.values() for layer in each.absolute)
    return f"{', '.join(absolute)}: begins at zero, so ‖φ − θ‖." if absolute else ""


def _high(end: Interval) -> float:
    return end.mean + (0.0 if math.isnan(end.ci95) else end.ci95)
