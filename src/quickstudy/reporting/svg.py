"""Figures as SVG inside an HTML page: sharp at any size, small, and in the colours of the page, light or dark.

matplotlib draws with colours that stand for roles; in the SVG each of them becomes a CSS variable, which the page sets
for both schemes. Text stays text, in the page's font.
"""

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeAlias

from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from quickstudy.files import write_text

__all__ = ["BAD", "GOOD", "INK", "LINE", "MUTED", "PAPER", "SERIES", "Draw", "Panel", "panel", "stacked"]

Draw: TypeAlias = Callable[[Axes], None]
"""Draws on a pair of axes."""

# Colours that no one would choose, so that they can be found again in the SVG.
INK, MUTED, LINE, PAPER, GOOD, BAD = (f"#01020{digit}" for digit in range(1, 7))
SERIES = tuple(f"#0a0b0{digit}" for digit in range(8))
_VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    LINE: "--line",
    PAPER: "--paper",
    GOOD: "--good",
    BAD: "--bad",
    **{colour: f"--series-{index}" for index, colour in enumerate(SERIES)},
}
_STYLE: Any = {
    "svg.fonttype": "none",
    "font.size": 11,
    "axes.titlesize": 11,
    "axes.labelsize": 11,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "grid.color": LINE,
    "grid.linewidth": 0.8,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
WIDTH = 330.0
"""Points, which a telephone shows as about as many pixels: one panel fills its width with letters of readable size."""


@dataclass(frozen=True)
class Panel:
    """A figure.

    Attributes:
        title: above it.
        svg: the figure itself, as an element of an HTML page that sets the colours.
        caption: below it; may be empty.
    """

    title: str
    svg: Markup
    caption: str = ""

    def save(self, path: Path | str) -> Path:
        """Write the figure alone, without title and caption, to an SVG file: light or dark as its reader prefers.

        Args:
            path: where to; `.svg` is added when the name has no ending.

        Returns:
            The path of the file.

        Raises:
            ValueError: the name has another ending.
        """
        path = Path(path)
        if path.suffix not in ("", ".svg"):
            raise ValueError(f"path must end in .svg, which is what is written, got {str(path)!r}")
        path = path.with_suffix(".svg")
        write_text(path, self._document())
        return path

    def _document(self) -> str:
        """The figure as a document of its own, with the colours of reports."""
        colours = (files("quickstudy.reporting") / "templates" / "colours.css").read_text(encoding="utf-8")
        style = "svg { background: var(--paper); } text { font-family: system-ui, sans-serif !important; }"
        head, body = self.svg.split(">", 1)
        return (
            f'{head} xmlns="http://www.w3.org/2000/svg">\n<title>{escape(self.title)}</title>\n'
            f"<style>\n{colours}{style}\n</style>{body}\n"
        )


def panel(name: str, title: str, alt: str, draw: Draw, height: float = 210.0, caption: str = "") -> Panel:
    """One figure of one pair of axes.

    Args:
        name: unlike that of any other figure on the page; ids in the SVG begin with it.
        title: above the figure.
        alt: what is seen, for those who cannot see it.
        draw: draws on the axes.
        height: in points; the width is that of a telephone.
        caption: below the figure.
    """
    return stacked(name, title, alt, [(height, draw)], caption)


def stacked(name: str, title: str, alt: str, draws: Sequence[tuple[float, Draw]], caption: str = "") -> Panel:
    """One figure of several pairs of axes, one below the other.

    Args:
        name, title, alt, caption: as of `panel`.
        draws: for each pair of axes its height in points, and what draws on it.
    """
    heights = [height for height, _ in draws]
    with rc_context({**_STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=(WIDTH / 72, sum(heights) / 72), layout="constrained")
        rows = figure.subplots(len(draws), squeeze=False, height_ratios=heights)[:, 0]
        for axes, (_, draw) in zip(rows, draws, strict=True):
            draw(axes)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return Panel(title, _inline(buffer.getvalue(), name, alt), caption)


def _inline(svg: str, name: str, alt: str) -> Markup:
    """An SVG document as an element of an HTML page; ids are made the figure's own, and colours the page's."""
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r"<!--.*?-->\n?", "", body, flags=re.DOTALL)
    box = re.search(r'viewBox="([^"]+)"', body)
    assert box is not None  # matplotlib always writes one
    inside = body[body.index(">") + 1 :]
    inside = inside.replace("xlink:href", "href")
    used = set(re.findall(r'(?:url\(|href=")#([^")]+)', inside))
    inside = re.sub(r' id="([^"]+)"', lambda match: f' id="{name}-{match[1]}"' if match[1] in used else "", inside)
    inside = re.sub(r'(url\(|href=")#', rf"\1#{name}-", inside)
    for colour, variable in _VARIABLES.items():
        inside = inside.replace(colour, f"var({variable})")
    head = f'<svg viewBox="{box[1]}" role="img" aria-label="{escape(alt)}">'
    return Markup(head + re.sub(r"\n\s*", "\n", inside).strip())  # noqa: S704 - the text in it is escaped by matplotlib
