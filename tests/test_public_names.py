"""The public names: those of `tunstack` and its public packages, without what is behind them."""

from __future__ import annotations

import importlib
import inspect
import pydoc
import re
import subprocess
import sys
from enum import Enum
from typing import Final

import pytest

import tunstack

PACKAGES: Final = (
    "tunstack.apps",
    "tunstack.behaviours",
    "tunstack.blocking",
    "tunstack.live",
    "tunstack.plot",
)
"""Public, beside `tunstack` itself, and `tunstack.pytest_plugin`, whose names are fixtures."""


def public_names() -> list[str]:
    """Every public name, dotted."""
    found = [f"tunstack.{name}" for name in tunstack.__all__]
    for package in PACKAGES:
        found += [f"{package}.{name}" for name in importlib.import_module(package).__all__]
    return found


def resolved(name: str) -> object:
    """What a dotted name stands for."""
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


def methods(of: type) -> list[str]:
    """The public names of a class that are not Python's or another project's."""
    return [
        each.name
        for each in inspect.classify_class_attrs(of)
        if not each.name.startswith("_") and each.defining_class.__module__.startswith("tunstack")
    ]


def test_dir_shows_the_public_names_only() -> None:
    """In a process of its own: what other tests import of it is there too."""
    code = "import tunstack; print(*(n for n in dir(tunstack) if not n.startswith('__')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == set(tunstack.__all__)


def test_help_of_a_host_shows_one_class_and_no_internals() -> None:
    page = pydoc.plain(pydoc.render_doc(tunstack.Host))
    assert tunstack.Host.__mro__ == (tunstack.Host, object)
    assert "inherited from" not in page
    assert "Loop" not in page
    assert {"open_tcp_stream", "serve_tcp", "statistics"} <= set(methods(tunstack.Host))
    internals = {"stack", "flush", "write", "start", "answers", "protocols", "send"}
    assert internals & set(methods(tunstack.Host)) == set()


@pytest.mark.parametrize("name", public_names())
def test_a_public_name_is_documented(name: str) -> None:
    what = resolved(name)
    if isinstance(what, type):
        assert own_docstring(what), "it has no docstring"
        assert not undocumented(what)
    elif callable(what) and inspect.isfunction(what):
        assert what.__doc__


def own_docstring(of: type) -> str:
    """Its docstring, but not the one that `dataclass` makes of the fields."""
    text = of.__doc__ or ""
    return "" if text.startswith(f"{of.__name__}(") else text


def undocumented(of: type) -> list[str]:
    """Its methods without a docstring, and its attributes that the class's does not name."""
    if issubclass(of, Enum):
        return []  # Its members are the words of its field.
    told = "".join(own_docstring(each) for each in of.__mro__ if each is not object)
    found = []
    for name in methods(of):
        value = inspect.getattr_static(of, name)
        if callable(value) or isinstance(value, (property, classmethod, staticmethod)):
            documented = bool(inspect.getdoc(getattr(of, name, value)))
        else:
            documented = re.search(rf"\b{name}\b", told) is not None
        if not documented:
            found.append(name)
    return found


class Bare:
    field = 1

    def method(self) -> None: ...


Bare.__module__ = "tunstack.bare"


def test_what_has_no_docstring_is_found() -> None:
    assert not own_docstring(Bare)
    assert undocumented(Bare) == ["field", "method"]
