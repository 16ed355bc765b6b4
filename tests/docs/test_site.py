"""The site builds without a warning, and asks for nothing from elsewhere."""

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from docs.pages import ROOT

pytest.importorskip("sphinx", reason="the docs extra is not installed")
pytest.importorskip("furo", reason="the docs extra is not installed")
sys.path.append(str(ROOT / "docs" / "_extensions"))

from interface import signature_of, with_literal_blocks
from lines import lines_of

import quickstudy as qs

# What a page loads when it is shown; links that a reader may follow are another matter.
_LOADED = re.compile(
    r"""<(?:script|img|iframe|source)[^>]*\ssrc="([^"]*)"|<link[^>]*rel="([^"]*)"[^>]*href="([^"]*)\""""
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", "docs", str(folder)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 20
    for page in pages:
        for source, kind, link in _LOADED.findall(page.read_text(encoding="utf-8")):
            assert not (source + link).startswith(("http:", "https:", "//")), (
                f"{page.name} loads {source or link} {kind}"
            )
    for style in site.rglob("*.css"):
        text = style.read_text(encoding="utf-8")
        assert not re.search(r"@import|url\(\s*['\"]?(?:https?:)?//", text), style.name


def test_equations_are_mathml(site: Path) -> None:
    text = (site / "families" / "metric.html").read_text(encoding="utf-8")
    equations = re.findall(r"<math.*?</math>", text, re.DOTALL)
    assert len(equations) > 5
    for path in site.rglob("*.html"):
        for equation in re.findall(r"<math.*?</math>", path.read_text(encoding="utf-8"), re.DOTALL):
            assert "\\" not in equation, f"{path.name}: {equation}"


def test_lines_stand_beside_their_equation(site: Path) -> None:
    text = re.sub(r"<[^>]+>", "", (site / "families" / "metric.html").read_text(encoding="utf-8"))
    assert "means = sums / counts.clamp(min=1)" in text


def test_signatures_are_those_of_the_source(site: Path) -> None:
    text = re.sub(r"<[^>]+>", "", (site / "api" / "learners.html").read_text(encoding="utf-8"))
    assert "Float[Tensor, 'task n outputs']" in re.sub(r"&#39;|&#x27;", "'", text)
    arguments, returns = signature_of(qs.learners.Learner.adapt) or ("", "")
    assert arguments == "(support: Examples, classes: Bool[Tensor, 'task way'] | None=None)"
    assert returns == "Phi"
    assert signature_of(qs.tasks.EpisodeShape) is None


PACKAGES = [
    "tasks",
    "networks",
    "learners",
    "multitask",
    "estimators",
    "training",
    "evaluation",
    "recipes",
    "reporting",
    "rebuild",
]


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_is_described(site: Path, package: str) -> None:
    text = (site / "api" / f"{package}.html").read_text(encoding="utf-8")
    for name in importlib.import_module(f"quickstudy.{package}").__all__:
        # Types that only have a name are described where they are defined.
        assert re.search(rf'id="quickstudy\.{package}(\.\w+)*\.{name}"', text), name


def test_lines_are_found_by_name() -> None:
    place = "quickstudy.learners.optimization.inner_loop"
    step = lines_of(place, "InnerLoop.slopes")
    assert step.text.startswith("def slopes(")
    assert step.text.splitlines()[-1].startswith("    return {name: slope + self.pull")
    part = lines_of(place, "InnerLoop.slopes", "if not self.pull", "return found")
    assert part.text.splitlines()[0] == "if not self.pull:"
    assert part.last == part.first + 1
    with pytest.raises(ValueError, match="has no 'InnerLoop.stride'"):
        lines_of(place, "InnerLoop.stride")
    with pytest.raises(ValueError, match="contains 'no such text'"):
        lines_of(place, "InnerLoop.slopes", "no such text")


def test_indented_paragraphs_are_literal() -> None:
    assert with_literal_blocks(["Said.", "", "    x = y", "", "Args:", "    x: what"]) == [
        "Said.", "", "::", "", "    x = y", "", "Args:", "    x: what",
    ]  # fmt: skip
