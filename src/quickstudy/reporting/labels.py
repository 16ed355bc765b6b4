"""Names beside the points of a figure, moved apart so that they do not cover one another."""

from collections.abc import Sequence

import numpy as np
from adjustText import adjust_text
from jaxtyping import Float
from matplotlib.axes import Axes

from quickstudy.reporting.svg import INK, MUTED

__all__ = ["label_points"]

_SIZE = 9.0
_ROUNDS = 400  # a limit in time, as is the default, would draw one page in several ways


def label_points(axes: Axes, places: Float[np.ndarray, "point 2"], names: Sequence[str]) -> None:
    """Write a name beside each point, with a thin line to it where there is no room close by.

    Call it last: limits and labels of the axes must be set.

    Args:
        axes: on which the points are drawn.
        places: in the units of the axes.
        names: of the points.
    """
    axes.figure.draw_without_rendering()  # type: ignore[union-attr]  # now the axes have their size
    texts = [axes.text(x, y, name, fontsize=_SIZE, color=INK) for (x, y), name in zip(places, names, strict=True)]
    adjust_text(
        texts,
        *places.T,
        ax=axes,
        expand=(1.15, 1.5),
        force_text=(0.4, 0.6),
        force_static=(0.3, 0.4),
        max_move=(25, 25),
        iter_lim=_ROUNDS,
        arrowprops={"arrowstyle": "-", "color": MUTED, "lw": 0.6},
    )
