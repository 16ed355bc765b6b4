"""Pages of the documentation as programs: their Python blocks are run from top to bottom, in one namespace.

A block ```` ```text ```` that directly follows a Python block is what that block prints. `python tests/docs/pages.py`
runs all pages and writes what they print into them (`make outputs`); the tests hold the two to each other.
"""

import contextlib
import io
import math
import os
import re
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["PAGES", "ROOT", "Block", "agree", "blocks", "run", "written"]

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if "```python\n" in path.read_text(encoding="utf-8"))

_BLOCK = re.compile(r"^```python\n(?P<code>.*?)^```\n(?:\n```text\n(?P<said>.*?)^```\n)?", re.DOTALL | re.MULTILINE)
_NUMBER = re.compile(r"[-+−]?\d+(?:\.\d+)?(?:e[-+]?\d+)?")


@dataclass(frozen=True)
class Block:
    """Some lines of Python, and what the page says that they print (None when it says nothing)."""

    code: str
    said: str | None
    line: int
    span: tuple[int, int]


def blocks(text: str) -> list[Block]:
    """The Python blocks of a page, in order."""
    return [
        Block(match["code"], match["said"], text.count("\n", 0, match.start()) + 2, match.span("said"))
        for match in _BLOCK.finditer(text)
    ]


def run(page: Path) -> list[tuple[Block, str]]:
    """Every block of a page with what it printed. Files that it writes go to the current folder."""
    # A module of that name exists, so that classes defined on the page know where they are from.
    module = type(sys)("page")
    names: dict[str, Any] = vars(module)
    sys.modules["page"] = module
    printed = []
    try:
        for block in blocks(page.read_text(encoding="utf-8")):
            # Empty lines put what is said of an error on the lines of the page.
            code = compile("\n" * (block.line - 1) + block.code, str(page), "exec")
            with contextlib.redirect_stdout(io.StringIO()) as out:
                exec(code, names)
            printed.append((block, out.getvalue()))
    finally:
        del sys.modules["page"]
    return printed


def agree(said: str, printed: str) -> bool:
    """Whether two outputs are the same up to what differs between processors: the words must be equal, and numbers
    with a fraction within a quarter of one another (or 0.05), whole numbers equal.
    """
    if _NUMBER.sub("#", said) != _NUMBER.sub("#", printed):
        return False
    pairs = zip(_NUMBER.findall(said), _NUMBER.findall(printed), strict=True)
    return all(a == b or ("." in a and "." in b and _near(a, b)) for a, b in pairs)


def _near(a: str, b: str) -> bool:
    first, second = (float(text.replace("−", "-")) for text in (a, b))
    return math.isclose(first, second, rel_tol=0.25, abs_tol=0.05)


def written(text: str, printed: list[tuple[Block, str]]) -> str:
    """The page with what its blocks printed in place of what it said."""
    for block, output in reversed(printed):
        if block.said is not None:
            text = text[: block.span[0]] + output + text[block.span[1] :]
    return text


def main() -> None:
    """Write into every page (or those named) what its blocks print."""
    chosen = [Path(name).resolve() for name in sys.argv[1:]] or PAGES
    for page in chosen:
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            page.write_text(written(page.read_text(encoding="utf-8"), run(page)), encoding="utf-8")
            os.chdir(ROOT)


if __name__ == "__main__":
    main()
