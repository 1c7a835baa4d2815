"""Pictures for one colour scheme: on the site its switch shows them, on GitHub the reader's own.

Of a picture there are two files, and a page of Markdown has both, one after the other::

    ![a page](../_static/page-light.png#gh-light-mode-only)
    ![a page](../_static/page-dark.png#gh-dark-mode-only)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from docutils import nodes
from sphinx.transforms import SphinxTransform

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.util.typing import ExtensionMetadata

_CLASSES: Final = {"gh-light-mode-only": "only-light", "gh-dark-mode-only": "only-dark"}
"""furo's class, by GitHub's word."""


class Schemes(SphinxTransform):
    """Give pictures furo's classes, before their files are looked for."""

    default_priority = 5

    def apply(self, **_arguments: object) -> None:
        """Change the pictures of one page."""
        for image in self.document.findall(nodes.image):
            path, _, word = str(image["uri"]).partition("#")
            if word in _CLASSES:
                image["uri"] = path
                image["classes"].append(_CLASSES[word])


def setup(app: Sphinx) -> ExtensionMetadata:
    """Add the transform."""
    app.add_transform(Schemes)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
