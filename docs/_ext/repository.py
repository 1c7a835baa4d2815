"""Links of pages to files of the repository that are no pages: on the site they lead to GitHub.

A page of Markdown links to ``../tunstack/tcp/config.py`` as GitHub has it, relative to itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from docutils import nodes
from sphinx import addnodes
from sphinx.transforms import SphinxTransform

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.util.typing import ExtensionMetadata

_URL: Final = "https://github.com/tunstack/tunstack/{kind}/main/{path}"


class RepositoryLinks(SphinxTransform):
    """Lead the links to files and folders outside of docs/ to GitHub."""

    default_priority = 5

    def apply(self, **_arguments: object) -> None:
        """Change the links of one page."""
        self._docs = Path(self.env.srcdir).resolve()
        folder = Path(self.env.doc2path(self.env.docname)).parent
        for link in [*self.document.findall(addnodes.download_reference)]:
            self._lead(link, folder, str(link["reftarget"]))
        for pending in [*self.document.findall(addnodes.pending_xref)]:
            if pending.get("refdomain") == "doc":  # MyST's, of a link to a page; without ".md".
                self._lead(pending, self._docs, f"{pending['reftarget']}.md")
            elif pending.get("reftype") == "myst":
                self._lead(pending, folder, str(pending["reftarget"]))

    def _lead(self, link: nodes.Element, folder: Path, target: str) -> None:
        path = (folder / target.partition("#")[0]).resolve()
        root = self._docs.parent
        if target.startswith("#") or not path.exists() or path.is_relative_to(self._docs):
            return
        if not path.is_relative_to(root):
            return
        kind = "tree" if path.is_dir() else "blob"
        url = _URL.format(kind=kind, path=path.relative_to(root))
        new = nodes.reference("", "", *link.children, refuri=url, internal=False)
        if not new.astext():
            new += nodes.literal("", str(path.relative_to(root)))
        link.replace_self(new)


def setup(app: Sphinx) -> ExtensionMetadata:
    """Add the transform."""
    app.add_transform(RepositoryLinks)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
