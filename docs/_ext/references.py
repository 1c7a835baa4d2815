"""References to names of the package, wherever they are defined and whether or not a page has them.

Docstrings name what they mean as code does: `Host.serve_tcp`, :mod:`tunstack.path.rules`, or the
module where a class is defined. A public name leads to its page, what else there is in the package
to its source on GitHub, and what there is not is a warning.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.domains.python._object import PyObject
from sphinx.transforms.post_transforms import SphinxPostTransform

import tunstack

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment
    from sphinx.util.typing import ExtensionMetadata

ROOT: Final = Path(tunstack.__file__).resolve().parents[1]
_SOURCE: Final = "https://github.com/tunstack/tunstack/blob/main/{path}{line}"
_TYPES: Final = "reference/api/types"
_PACKAGES: Final = ("apps", "behaviours", "blocking", "live", "plot", "pytest_plugin")


@functools.cache
def public_names() -> dict[str, str]:
    """The public name of each public class, by where it is defined and by its bare name."""
    found: dict[str, str] = {}
    packages = [("tunstack", tunstack.__all__)]
    for name in _PACKAGES:
        module = f"tunstack.{name}"
        packages.append((module, importlib.import_module(module).__all__))
    for module, names in packages:
        for name in names:
            what = getattr(importlib.import_module(module), name)
            public = f"{module}.{name}"
            found.setdefault(name, public)
            found.setdefault(f"{getattr(what, '__module__', module)}.{name}", public)
    return found


@functools.cache
def type_names() -> frozenset[str]:
    """What the page of types has: its headings."""
    text = (ROOT / "docs" / f"{_TYPES}.md").read_text()
    return frozenset(re.findall(r"^## (\w+)$", text, re.MULTILINE))


def candidates(target: str, within: str | None) -> list[str]:
    """What a name may stand for among the public names, the likeliest first."""
    names = public_names()
    found = []
    if within is not None:
        found.append(f"{within}.{target}")
    parts = target.split(".")
    for count in range(len(parts), 0, -1):
        head, tail = ".".join(parts[:count]), parts[count:]
        if head in names:
            found.append(".".join([names[head], *tail]))
    return found


@functools.cache
def source_of(target: str) -> str | None:
    """The address of the source of a module, or of a name in one; None if there is none."""
    parts = target.split(".")
    if parts[0] != "tunstack":
        return None
    for count in range(len(parts), 0, -1):
        try:
            what: object = importlib.import_module(".".join(parts[:count]))
        except ImportError:
            continue
        file = inspect.getsourcefile(what)  # type: ignore[arg-type]
        try:
            for name in parts[count:]:
                what = inspect.getattr_static(what, name)
        except AttributeError:
            return None
        assert file is not None
        path = Path(file).resolve().relative_to(ROOT)
        return _SOURCE.format(path=path, line=_line(what) if parts[count:] else "")
    return None


def _line(what: object) -> str:
    try:
        return f"#L{inspect.getsourcelines(inspect.unwrap(what))[1]}"  # type: ignore[arg-type]
    except (TypeError, OSError, AttributeError):
        return ""


def resolve(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.TextElement
) -> nodes.reference | None:
    """Find what Sphinx has not found: see the module."""
    if node.get("refdomain") != "py":
        return None
    target, python = node["reftarget"], env.domains.python_domain
    within = node.get("py:class")
    for name in candidates(target, f"tunstack.{within}" if within else None):
        found = python.find_obj(env, "", "", name, None, 0)
        if found:
            page, anchor = found[0][1].docname, found[0][1].node_id
            address = app.builder.get_relative_uri(env.current_document.docname, page)
            return nodes.reference("", "", content, internal=True, refuri=f"{address}#{anchor}")
    if target in type_names():
        address = app.builder.get_relative_uri(env.current_document.docname, _TYPES)
        address = f"{address}#{target.lower()}"
        return nodes.reference("", "", content, internal=True, refuri=address)
    source = source_of(target)
    if source is None:
        return None
    return nodes.reference("", "", content, internal=False, refuri=source)


class PublicNames(SphinxPostTransform):
    """Write a bare public name in full: several packages may have it, and Sphinx would guess.

    On the pages of what is used without trio `Host` is :class:`tunstack.blocking.Host`.
    """

    default_priority = 5

    def run(self, **_arguments: object) -> None:
        """Change the references of one page."""
        without_trio = self.env.current_document.docname.endswith(("/blocking", "/pytest-plugin"))
        for node in self.document.findall(pending_xref):
            if node.get("refdomain") != "py":
                continue
            head, dot, rest = str(node["reftarget"]).partition(".")
            public = public_names().get(head)
            if without_trio and head in importlib.import_module("tunstack.blocking").__all__:
                public = f"tunstack.blocking.{head}"
            if public is not None and not (head == "tunstack" and dot):
                node["reftarget"] = public + dot + rest


def readable_signature(
    _app: Sphinx,
    _kind: str,
    _name: str,
    what: object,
    _options: object,
    signature: str | None,
    result: str | None,
) -> tuple[str | None, str | None]:
    """Say of what ``contextmanager`` has made that it is a context manager, as callers see it."""
    made = getattr(what, "__wrapped__", None)
    if result is not None and inspect.isasyncgenfunction(made):
        result = result.replace("AsyncIterator[", "AbstractAsyncContextManager[")
    elif result is not None and inspect.isgeneratorfunction(made):
        result = result.replace("Iterator[", "AbstractContextManager[")
    return signature, result


def setup(app: Sphinx) -> ExtensionMetadata:
    """Connect it."""
    app.add_post_transform(PublicNames)
    # The fields of a class's docstring: Google calls them attributes.
    for field in PyObject.doc_field_types:
        if field.name == "variable":
            field.label = "Attributes"
    app.connect("autodoc-process-signature", readable_signature)
    app.connect("missing-reference", resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
