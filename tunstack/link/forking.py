"""What a forked child gives up.

A child that `os.fork` or `multiprocessing` makes has a copy of every descriptor. (A program that is
started has none: they are closed on `exec`.) What a descriptor of ours stands for ends only with
its last copy: while a child had one, a device and its address would outlive their host, its peers
would wait in vain, and a process that serves us, or the reader of a capture, would not learn of the
end.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from collections.abc import Callable

Holder = TypeVar("Holder")

_holders: Final[WeakKeyDictionary[Any, Callable[[Any], object]]] = WeakKeyDictionary()


def not_for_children(holder: Holder, give_up: Callable[[Holder], object]) -> Holder:
    """Have `give_up` called with what holds a descriptor, in each child that is forked.

    It must close no more than the descriptor: trio's epoll, for one, is the parent's as well.

    Returns:
        What holds it; nothing is called for it when it is gone.
    """
    _holders[holder] = give_up
    return holder


def _give_up_all() -> None:
    for holder, give_up in list(_holders.items()):
        with suppress(OSError):
            give_up(holder)


os.register_at_fork(after_in_child=_give_up_all)
