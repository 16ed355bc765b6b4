"""Names beside the points of a figure, placed so that they cover neither one another nor a point."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath

from quickstudy.reporting.svg import INK, MUTED, PAPER

__all__ = ["label_points"]

_SIZE = 9.0
_HEIGHT = 1.25 * _SIZE
_ROOM, _NEAR = 4.0, 10.0  # around a point: what is its marker, and where a name is taken for its own
_DISTANCES = (7.0, 13.0, 20.0, 28.0, 37.0, 47.0, 58.0, 70.0, 85.0, 100.0)
_DIRECTIONS = 24
_ROUNDS = 4
# What it costs, in points of distance, to cover a name, a point, or a cross; to be near another point; to lie outside;
# to be crossed by a line.
_NAME, _POINT, _CROSS, _BESIDE, _OUTSIDE, _LINE = 1000.0, 200.0, 3.0, 12.0, 100.0, 100.0


def label_points(
    axes: Axes, places: Float[np.ndarray, "point 2"], names: Sequence[str], halves: Float[np.ndarray, "point 2"]
) -> None:
    """Write a name beside each point, with a thin line to it where there is no room close by.

    Call it last: limits and labels of the axes must be set. The place of each name is chosen among some around its
    point, in rounds, so that it costs least given the others.

    Args:
        axes: on which the points are drawn.
        places: in the units of the axes.
        names: of the points.
        halves: of the crosses on which the points lie, which are better not covered, half the width and the height.
    """
    axes.figure.draw_without_rendering()  # type: ignore[union-attr]  # now the axes have their size
    scale = 72 / axes.figure.dpi  # pixels to points

    def in_points(places: Float[np.ndarray, "point 2"]) -> Float[np.ndarray, "point 2"]:
        return scale * np.asarray(axes.transData.transform(places))

    points = in_points(places)
    arms = np.abs(in_points(places + halves) - points)
    crosses = np.concatenate([_around(points, arms * side) for side in ((1, 0), (0, 1))])
    sizes = np.array([(_width(name), _HEIGHT) for name in names])
    boxes = _placed(_Scene(points, crosses, scale * np.asarray(axes.bbox.extents)), sizes)
    for point, box, name, place in zip(points, boxes, names, places, strict=True):
        end = _nearest(point, box[None])[0]
        offsets = [((box[:2] + box[2:]) / 2 - point).tolist(), (end - point).tolist()]
        axes.annotate(
            name,
            tuple(place),
            offsets[0],
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=_SIZE,
            color=INK,
            bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 0.3, "alpha": 0.75},
        )
        if math.hypot(*offsets[1]) > _DISTANCES[1]:
            line = {"arrowstyle": "-", "color": MUTED, "lw": 0.6, "shrinkA": 0, "shrinkB": 3}
            axes.annotate("", tuple(place), offsets[1], textcoords="offset points", arrowprops=line)


def _width(name: str) -> float:
    """The width of a name in points, with some room as the page's font may be wider."""
    return 4 + 1.05 * float(TextPath((0, 0), name, _SIZE, prop=FontProperties()).get_extents().width)


@dataclass(frozen=True)
class _Scene:
    """What names must not cover, in points: the points, their crosses, and what lies outside of the axes.

    A box is its left, lower, right and upper end.
    """

    points: Float[np.ndarray, "point 2"]
    crosses: Float[np.ndarray, "line 4"]
    inside: Float[np.ndarray, "4"]


def _placed(scene: _Scene, sizes: Float[np.ndarray, "point 2"]) -> Float[np.ndarray, "point 4"]:
    """A box for the name of every point."""
    points = scene.points
    turns = 2 * math.pi * np.arange(_DIRECTIONS) / _DIRECTIONS
    directions = np.stack([np.cos(turns), np.sin(turns)], -1)
    distances = np.repeat(_DISTANCES, _DIRECTIONS)
    ways = np.tile(directions, (len(_DISTANCES), 1))
    # The middle lies as far out as leaves the distance between the point and the edge of the box.
    choices = [
        _around(point + ways * (distances[:, None] + size / 2), np.broadcast_to(size / 2, ways.shape))
        for point, size in zip(points, sizes, strict=True)
    ]
    fixed = [distances + _alone(scene, number, boxes) for number, boxes in enumerate(choices)]
    # Those in company choose first: they have least room.
    crowd = np.exp(-np.linalg.norm(points[:, None] - points, axis=-1) / 40).sum(1)
    chosen = np.full((len(points), 4), np.nan)  # nothing meets a box that is not there yet
    for _ in range(_ROUNDS):
        before = chosen.copy()
        for number in np.argsort(-crowd, kind="stable"):
            others = np.arange(len(points)) != number
            cost = fixed[number] + _together(points[number], choices[number], points[others], chosen[others])
            chosen[number] = choices[number][cost.argmin()]
        if np.array_equal(chosen, before):
            break
    return chosen


def _alone(scene: _Scene, number: int, boxes: Float[np.ndarray, "box 4"]) -> Float[np.ndarray, " box"]:
    """What boxes for the name of a point cost, but for the other names."""
    others = np.delete(scene.points, number, 0)
    marks, near = (_around(others, np.full_like(others, room)) for room in (_ROOM, _NEAR))
    over = np.concatenate([scene.inside[:2] - boxes[:, :2], boxes[:, 2:] - scene.inside[2:]], 1).clip(min=0).sum(1)
    cost = _POINT * _overlap(boxes, marks).sum(1) + _BESIDE * _overlap(boxes, near).sum(1)
    cost = cost + _CROSS * _overlap(boxes, scene.crosses).sum(1)
    cost = cost + _LINE / 2 * _holds(marks, _line(scene.points[number], boxes)).any(0).sum(1)
    return np.asarray(cost + _OUTSIDE * (over > 0) + 10 * over)


def _together(
    point: Float[np.ndarray, "2"],
    boxes: Float[np.ndarray, "box 4"],
    points: Float[np.ndarray, "other 2"],
    chosen: Float[np.ndarray, "other 4"],
) -> Float[np.ndarray, " box"]:
    """What the names of other points, and the lines to all names, add to that."""
    mine, theirs = _line(point, boxes), _line(points, chosen)
    cost = _NAME * _overlap(boxes, chosen).sum(1)
    cost = cost + _LINE * _holds(chosen, mine).any(0).sum(1) + _LINE * _holds(boxes, theirs).any(0).sum(0)
    return np.asarray(cost + _LINE / 2 * _meet(mine[0], mine[-1], theirs[0], theirs[-1]).sum(1))


def _line(points: Float[np.ndarray, "*box 2"], boxes: Float[np.ndarray, "box 4"]) -> Float[np.ndarray, "step box 2"]:
    """Places on the lines from points to boxes, near enough to each other to find what the lines run through."""
    return points + np.linspace(0, 1, 16)[:, None, None] * (_nearest(points, boxes) - points)


def _around(middles: Float[np.ndarray, "box 2"], halves: Float[np.ndarray, "box 2"]) -> Float[np.ndarray, "box 4"]:
    return np.concatenate([middles - halves, middles + halves], 1)


def _nearest(points: Float[np.ndarray, "*box 2"], boxes: Float[np.ndarray, "box 4"]) -> Float[np.ndarray, "box 2"]:
    """The place of every box that is nearest to a point: to the one there is, or to the box's own."""
    return np.minimum(np.maximum(points, boxes[:, :2]), boxes[:, 2:])


def _overlap(first: Float[np.ndarray, "a 4"], second: Float[np.ndarray, "b 4"]) -> Bool[np.ndarray, "a b"]:
    a, b = first[:, None], second[None]
    return np.asarray(((a[..., :2] < b[..., 2:]) & (b[..., :2] < a[..., 2:])).all(-1))


def _holds(boxes: Float[np.ndarray, "a 4"], places: Float[np.ndarray, "step b 2"]) -> Bool[np.ndarray, "step b a"]:
    """Which places lie inside of which boxes."""
    at = places[:, :, None]
    return np.asarray(((boxes[:, :2] < at) & (at < boxes[:, 2:])).all(-1))


def _meet(
    a: Float[np.ndarray, "first 2"],
    b: Float[np.ndarray, "first 2"],
    c: Float[np.ndarray, "second 2"],
    d: Float[np.ndarray, "second 2"],
) -> Bool[np.ndarray, "first second"]:
    """Which of the lines ab cross which of the lines cd."""
    a, b, c, d = a[:, None], b[:, None], c[None], d[None]

    def side(p: np.ndarray, q: np.ndarray, r: np.ndarray) -> np.ndarray:
        return (q - p)[..., 0] * (r - p)[..., 1] - (q - p)[..., 1] * (r - p)[..., 0]

    return (side(a, b, c) * side(a, b, d) < 0) & (side(c, d, a) * side(c, d, b) < 0)
