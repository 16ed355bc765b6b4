"""The report as it is seen: at the width of a telephone and of a desk, light and dark, without network."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from .chromium import Browser, browser
from .pages import page


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("seen") / "report.html"
    page(path)
    return path


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("L"), dtype=float)


@pytest.mark.parametrize("width", [375, 1200])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_it_can_be_read(tab: Browser, report: Path, width: int, dark: bool) -> None:
    tab.open(report, width, dark=dark)
    assert tab.requests == [report.resolve().as_uri()]
    assert tab.run("innerWidth") == width
    tab.run("document.querySelectorAll('details').forEach(each => each.open = true)")
    assert tab.run("document.documentElement.scrollWidth") <= width
    # Everything is inside the page, or inside a part of it that scrolls by itself.
    outside = tab.run(
        "[...document.querySelectorAll('main *, header *')].filter(e => !e.closest('.scroll, svg, pre') && "
        "e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 80))"
    )
    assert outside == []
    assert tab.run("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
    seen = pixels(tab.picture())
    assert seen.shape == (900, width)
    assert seen.std() > 10
    assert (np.median(seen) < 60) == dark
    # Letters in figures are as large as a reader needs.
    sizes = tab.run(
        "[...document.querySelectorAll('svg')].map(s => Math.min(...[...s.querySelectorAll('text')].map("
        "t => parseFloat(getComputedStyle(t).fontSize) * s.getBoundingClientRect().width / s.viewBox.baseVal.width)))"
    )
    assert min(sizes) >= 9.5


def test_words_in_figures_do_not_run_out_of_them(tab: Browser, report: Path) -> None:
    for width in (375, 1200):
        tab.open(report, width)
        out = tab.run(
            "[...document.querySelectorAll('svg text')].filter(t => { const a = t.getBoundingClientRect(), "
            "b = t.closest('svg').getBoundingClientRect(); return a.left < b.left - 3 || a.right > b.right + 3; })"
            ".map(t => t.textContent)"
        )
        assert out == []


def test_it_prints_in_black_on_white(tab: Browser, report: Path) -> None:
    tab.open(report, 1200, dark=True)
    tab.call("Emulation.setEmulatedMedia", media="print", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    colours = tab.run("[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]")
    assert colours == ["rgb(255, 255, 255)", "rgb(0, 0, 0)"]
    tab.call("Emulation.setEmulatedMedia", media="")
