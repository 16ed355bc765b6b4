"""Lines of the source, found by the name of what they belong to and never copied: they cannot go stale.

    ```{beside} quickstudy.learners.metric.prototypical PrototypicalNetwork._adapt
    :from: members =
    :to: prototypes =

    $$ c_k = … $$
    ```

shows the equation, and beside it the lines of `PrototypicalNetwork._adapt` from the first that contains `members =` to
the next that contains `prototypes =`. Without either, the lines begin or end with the object.
"""

import ast
import importlib.util
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

__all__ = ["Lines", "lines_of", "setup"]


@dataclass(frozen=True)
class Lines:
    """Some lines of a file.

    Attributes:
        text: the lines, dedented.
        path: the file.
        first, last: their numbers, from 1.
    """

    text: str
    path: Path
    first: int
    last: int


def lines_of(module: str, name: str, begin: str = "", end: str = "") -> Lines:
    """The lines of an object of a module, or a part of them.

    Args:
        module: its full name.
        name: of a function, class, method (`Class.method`) or constant in it.
        begin: text in the first line that is wanted; the object's first line by default.
        end: text in the last line that is wanted; the object's last line by default.

    Raises:
        ValueError: there is no such module, object or line.
    """
    found = importlib.util.find_spec(module)
    if found is None or found.origin is None:
        raise ValueError(f"there is no module {module!r}")
    path = Path(found.origin)
    text = path.read_text(encoding="utf-8")
    first, last = _span(ast.parse(text), name, module)
    rows = text.splitlines()
    if begin:
        first = _line(rows, begin, first, last, name)
    if end:
        last = _line(rows, end, first, last, name)
    return Lines(textwrap.dedent("\n".join(rows[first - 1 : last])), path, first, last)


def _span(tree: ast.AST, name: str, module: str) -> tuple[int, int]:
    """Numbers of the first and last line of an object; decorators belong to it."""
    for part in name.split("."):
        tree = next((child for child in ast.iter_child_nodes(tree) if part in _names(child)), None)  # type: ignore[assignment]
        if tree is None:
            raise ValueError(f"{module} has no {name!r}")
    above = [decorator.lineno for decorator in getattr(tree, "decorator_list", [])]
    assert isinstance(tree, ast.stmt)
    assert tree.end_lineno is not None
    return min([tree.lineno, *above]), tree.end_lineno


def _names(node: ast.AST) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _line(rows: list[str], wanted: str, first: int, last: int, name: str) -> int:
    for number in range(first, last + 1):
        if wanted in rows[number - 1]:
            return number
    raise ValueError(f"none of the lines {first} to {last} of {name} contains {wanted!r}")


class Beside(SphinxDirective):
    """An equation, or whatever else the body is, and the lines that compute it."""

    required_arguments = 2
    has_content = True
    option_spec: ClassVar[dict[str, Any]] = {
        "from": directives.unchanged_required,
        "to": directives.unchanged_required,
    }

    def run(self) -> list[nodes.Node]:
        module, name = self.arguments
        try:
            lines = lines_of(module, name, self.options.get("from", ""), self.options.get("to", ""))
        except ValueError as error:
            raise self.error(str(error)) from error
        self.env.note_dependency(str(lines.path))
        said = nodes.container(classes=["beside-said"])
        self.state.nested_parse(self.content, self.content_offset, said)
        code = nodes.literal_block(lines.text, lines.text, language="python")
        place = module.removeprefix("quickstudy.").replace(".", "/") + ".py"
        where = nodes.paragraph(classes=["beside-where"])
        numbers = f"lines {lines.first}–{lines.last}" if lines.first < lines.last else f"line {lines.first}"
        where += [nodes.literal(text=name), nodes.Text(f" in {place}, {numbers}")]
        shown = nodes.container("", where, code, classes=["beside-shown"])
        return [nodes.container("", said, shown, classes=["beside"])]


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.add_directive("beside", Beside)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
