"""Equations as MathML, which browsers render themselves: made when the site is built, with no script and no font."""

from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.util import logging

__all__ = ["setup"]

_log = logging.getLogger(__name__)


def _converted(node: nodes.Element, display: str) -> str:
    equation = convert(node.astext(), display=display)
    if "\\" in equation:  # a command that latex2mathml does not know stays as it is
        _log.warning("this equation has a command that cannot be shown: %s", node.astext(), location=node)
    return equation


def _inline(translator: Any, node: nodes.math) -> None:
    translator.body.append(_converted(node, "inline"))
    raise nodes.SkipNode


def _block(translator: Any, node: nodes.math_block) -> None:
    translator.body.append(f'<div class="equation">{_converted(node, "block")}</div>\n')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
