"""Close our descriptors in forked children.

A child of `os.fork` or `multiprocessing` has a copy of every descriptor (an executed program has
none: they are close-on-exec). A device or socket ends only with its last descriptor. While a child
had one, a device and its address would outlive their host, and a helper process or the reader of a
capture would not see the end of file.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from collections.abc import Callable

Owner = TypeVar("Owner")

_owners: Final[WeakKeyDictionary[Any, Callable[[Any], object]]] = WeakKeyDictionary()


def close_in_children(owner: Owner, close: Callable[[Owner], object]) -> Owner:
    """Call `close` with the owner of a descriptor in each forked child.

    It must do no more than close the descriptor: trio's epoll, for one, is shared with the parent.

    Returns:
        The owner, of which only a weak reference is kept.
    """
    _owners[owner] = close
    return owner


def _close_all() -> None:
    for owner, close in list(_owners.items()):
        with suppress(OSError):
            close(owner)


os.register_at_fork(after_in_child=_close_all)
