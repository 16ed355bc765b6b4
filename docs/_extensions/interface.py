"""Docstrings and signatures as they are written in the source.

Signatures are taken from the text of the functions: there, shapes stand as `Float[Tensor, "task n width"]` and types by
their short names, where the objects know only what those stand for. Docstrings are lightly marked-up text: what is
indented in their body (equations, tables) keeps its lines.
"""

import ast
import inspect
import re
import textwrap
from typing import Any

from sphinx.application import Sphinx

__all__ = ["setup", "signature_of", "with_literal_blocks"]


def signature_of(thing: Any) -> tuple[str, str] | None:
    """(arguments in parentheses, what is returned) as the source has them; None for what has no function of its own."""
    function = inspect.unwrap(thing.__init__ if inspect.isclass(thing) else getattr(thing, "__func__", thing))
    if not inspect.isfunction(function):
        return None
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    except (OSError, SyntaxError):
        return None  # made by a decorator such as dataclass: there is no text
    if not isinstance(tree, ast.FunctionDef) or tree.name != function.__name__:
        return None
    arguments = tree.args
    bound = inspect.isclass(thing) or (arguments.args and arguments.args[0].arg in ("self", "cls"))
    if bound:
        (arguments.posonlyargs or arguments.args).pop(0)
    returns = ast.unparse(tree.returns) if tree.returns and not inspect.isclass(thing) else ""
    # A shape of one axis is written with a blank before it, for the eyes of type checkers.
    return f"({ast.unparse(arguments)})".replace("[Tensor, ' ", "[Tensor, '"), returns.strip("'").replace(
        "Tensor, ' ", "Tensor, '"
    )


def with_literal_blocks(lines: list[str]) -> list[str]:
    """The same docstring, in which indented paragraphs of its body are literal."""
    out: list[str] = []
    literal = False
    for number, line in enumerate(lines):
        indented, after_blank = line.startswith("    "), number > 0 and not lines[number - 1].strip()
        if indented and after_blank and not literal:
            out += ["::", ""]
            literal = True
        elif line.strip() and not indented:
            literal = False
        out.append(line)
    return out


def _signature(app: Sphinx, what: str, name: str, thing: Any, *_: Any) -> tuple[str, str] | None:
    return signature_of(thing) if what in ("class", "function", "method") else None


def _plain(line: str) -> str:
    """A line in which |x| is no substitution of reStructuredText, and headings are as the sections are known by."""
    line = re.sub(r"^Class attributes\b.*:$", "Class attributes:", line)
    quoted = line.split("`")  # what stands between two backticks is code
    return "`".join(part if place % 2 else part.replace("|", r"\|") for place, part in enumerate(quoted))


def _docstring(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    if what == "data" and lines[:1] == (inspect.getdoc(thing) or "").splitlines()[:1]:
        lines.clear()  # what dict or tuple say of themselves is not what this one is
    lines[:] = with_literal_blocks([_plain(line) for line in lines])


def _skip(app: Sphinx, what: str, name: str, thing: Any, skip: bool, options: Any) -> bool | None:
    """Every learner has a small instance for the contract test; it is described once."""
    return True if name == "example" and thing.__qualname__ != "Learner.example" else None


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("autodoc-process-signature", _signature)
    app.connect("autodoc-skip-member", _skip)
    app.connect("autodoc-process-docstring", _docstring, priority=100)  # before the sections are taken apart
    return {"parallel_read_safe": True, "parallel_write_safe": True}
