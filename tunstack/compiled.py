"""What classes of the core need so that mypyc can compile them; the interpreter does not.

A compiled class can be derived from in Python only if it says so (:func:`mypyc_attr`), and is
pickled by its attributes, which a frozen one does not let be set (:func:`reduced`).
"""

from __future__ import annotations

from dataclasses import fields
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_extensions import mypyc_attr as mypyc_attr
else:

    def mypyc_attr(**attributes: bool) -> Any:
        """Return a decorator that does nothing: `attributes` are for mypyc, which reads them."""
        return lambda kind: kind


def reduced(value: Any) -> tuple[Callable[[], Any], tuple[()]]:
    """For ``__reduce__`` of a frozen dataclass: what makes it again, of its arguments."""
    arguments = {each.name: getattr(value, each.name) for each in fields(value) if each.init}
    kind: Callable[..., Any] = type(value)
    return partial(kind, **arguments), ()
