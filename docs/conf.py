"""How the site is built: `make docs`. Nothing in it is loaded from a network, when it is built or when it is read."""

import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "_extensions"), str(HERE.parent / "src")]

import quickstudy  # noqa: E402

project = "quickstudy"
author = "the quickstudy contributors"
release = version = quickstudy.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "interface", "lines", "mathml"]
exclude_patterns = ["_build"]

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
html_math_renderer = "mathml"
default_role = "code"  # docstrings write `names` with one backtick, as Markdown does

autodoc_member_order = "groupwise"
autodoc_preserve_defaults = True
# scikit-learn makes the last ones, and describes them with references into its own site.
autodoc_default_options = {
    "members": True, "imported-members": True, "exclude-members": "set_score_request, set_fit_request",
}  # fmt: skip
napoleon_use_ivar = True
napoleon_custom_sections = [("Class attributes", "params_style")]
python_maximum_signature_line_length = 88
add_module_names = False
toc_object_entries_show_parents = "hide"

html_theme = "furo"
html_title = "quickstudy"
html_static_path = ["_static"]
html_css_files = ["quickstudy.css"]
html_copy_source = html_show_sourcelink = False
html_show_sphinx = html_show_copyright = False


def _language(app: Any, page: str, template: str, context: dict[str, Any], tree: Any) -> None:
    """A page whose name ends in .ko is Korean, which browsers must know to choose fonts and break lines."""
    if page.endswith(".ko"):
        context["language"] = "ko"


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("html-page-context", _language)
