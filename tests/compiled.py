"""What tests cannot do with classes that mypyc has compiled, and how they are told."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

PatchMethod: TypeAlias = Callable[[type, str, object], None]
"""The fixture `patch_method`."""


def is_compiled(kind: type) -> bool:
    """Whether mypyc has made this class."""
    return hasattr(kind, "__mypyc_attrs__")
