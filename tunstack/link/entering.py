"""A thread in a network namespace: for C libraries that create their own sockets.

setns(2) moves the calling thread alone. That thread must not be one that others use afterwards, as
those of `trio.to_thread` are: it ends with the function.
"""

from __future__ import annotations

import logging
import threading
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from tunstack.link.enter import set_namespace
from tunstack.link.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger("tunstack")


def run_inside(
    path: str, resolv_conf: str | None, function: Callable[..., Any], args: tuple[Any, ...]
) -> Any:
    """Run a function in a thread of its own in a network namespace, and wait for its end.

    Args:
        path: The namespace's file.
        resolv_conf: What the thread is to read as /etc/resolv.conf; None for the machine's.
        function: What to call; in a copy of the context of this thread.
        args: Its arguments.

    Raises:
        SetupError: the thread may not enter the namespace.
        BaseException: what the function raised.
    """
    results: list[Any] = []
    errors: list[BaseException] = []
    context = copy_context()

    def run() -> None:
        try:
            _enter(path)
            if resolv_conf is not None:
                _read_resolv_conf(resolv_conf)
            results.append(context.run(function, *args))
        except BaseException as error:
            errors.append(error)

    # A daemon: if the caller was abandoned, the interpreter does not wait for it at its end.
    thread = threading.Thread(target=run, name=f"tunstack in {path}", daemon=True)
    thread.start()
    thread.join()
    try:
        if errors:
            raise errors[0]
        return results[0]
    finally:
        errors.clear()  # The error's traceback has this frame.


def _enter(path: str) -> None:
    try:
        set_namespace(path)
    except OSError as error:
        raise SetupError(
            f"a thread cannot enter the namespace ({error.strerror}), as this needs CAP_SYS_ADMIN: "
            "run as root, or run a program with run_process"
        ) from error


def _read_resolv_conf(text: str) -> None:
    """Give this thread, in a mount namespace of its own, that /etc/resolv.conf."""
    from tunstack.link.resolv_conf import RESOLV_CONF, replace_machines

    try:
        replace_machines(text)
    except OSError as error:
        logger.warning("a thread gets the machine's %s, not tunstack's: %s", RESOLV_CONF, error)
