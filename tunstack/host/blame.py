"""Whose exception comes out of the stack: its own, or that of a program's congestion control."""

from __future__ import annotations

import sys
from traceback import walk_tb
from typing import Final

_CORE: Final = "tunstack.tcp."
"""The packages that call congestion controls, and no other code of a program."""


def is_of_congestion_control(error: BaseException) -> bool:
    """Whether a program's congestion control raised it, or lacks what it is asked for."""
    if isinstance(error, AttributeError) and _is_foreign(type(error.obj).__module__):
        return True
    caller = ""
    for frame, _ in walk_tb(error.__traceback__):
        module = str(frame.f_globals.get("__name__"))
        if caller.startswith(_CORE) and _is_foreign(module):
            return True
        caller = module
    return False


def _is_foreign(module: str) -> bool:
    """Whether a module is neither tunstack's nor of the standard library."""
    top = module.partition(".")[0]
    return top != "tunstack" and top not in sys.stdlib_module_names


__all__ = ["is_of_congestion_control"]
