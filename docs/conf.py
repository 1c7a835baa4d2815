"""How the documentation is built: ``make docs`` writes it to build/docs.

Sphinx with furo, and not mkdocs: the reference is made of the docstrings and annotations of typed
Python, which autodoc has read for longest; trio's documentation, which our readers come from, is
Sphinx's; and broken references are errors (``-n -W``). Pages are Markdown all the same, by MyST, so
that they can be read on GitHub. Nothing is fetched at build time, and the built site fetches
nothing: no inventories of other projects, no content delivery network.

Each module of ``_ext`` is an extension of Sphinx; its docstring says which directives it has.
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE / "_ext")]

import tunstack  # noqa: E402

project = "tunstack"
author = "The tunstack authors"
copyright = author
release = tunstack.__version__
version = release

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "notfound.extension",
    *sorted(path.stem for path in (HERE / "_ext").glob("[!_]*.py")),
]
exclude_patterns = ["_ext", "_static"]
source_suffix = {".md": "markdown"}
nitpicky = True
default_role = "py:obj"
nitpick_ignore_regex = [("py:obj", ".*"), ("py:.*", r"(?!tunstack\b).*")]
suppress_warnings = ["config.cache"]

myst_enable_extensions = ["colon_fence", "deflist", "fieldlist", "attrs_block"]
myst_heading_anchors = 4

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 80
add_module_names = True

html_theme = "furo"
html_title = "tunstack"
html_static_path = ["_static"]
html_css_files = ["tunstack.css"]
html_favicon = "_static/favicon.svg"
html_show_sphinx = False
html_copy_source = False
html_theme_options = {
    "light_logo": "tunstack-light.svg",
    "dark_logo": "tunstack-dark.svg",
    "sidebar_hide_name": True,
    "source_repository": "https://github.com/tunstack/tunstack/",
    "source_branch": "main",
    "source_directory": "docs/",
}
# Where GitHub Pages serves the site: a page that is missing may be anywhere below it.
notfound_urls_prefix = "/tunstack/"
# A prompt shows which lines are commands; the button copies those, without it.
copybutton_prompt_text = "$ "
copybutton_here_doc_delimiter = "EOF"
copybutton_exclude = ".linenos, .gp"
