"""Make synchronous methods of those of the async API, with their signatures and docstrings."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tunstack.blocking.portal import Block

A = TypeVar("A")
A_co = TypeVar("A_co", covariant=True)
P = ParamSpec("P")
R = TypeVar("R")


class Handle(Generic[A_co]):
    """What other threads have of an object of the async API.

    Args:
        block: In which the object lives.
        inner: The object.
    """

    def __init__(self, block: Block[Any], inner: A_co) -> None:
        self._block = block
        self._inner = inner

    def __repr__(self) -> str:
        return f"<blocking {self._inner!r}>"

    def run(
        self,
        function: Callable[Concatenate[A_co, P], Awaitable[R]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        """Run an async function with the object of the async API, in the thread of its trio loop.

        For what has no method here: ``host.run(fetch)``, with ``async def fetch(host: Host)``.

        Raises:
            Exception: what the function raises; or what ended the host meanwhile.
            trio.ClosedResourceError: the host, or the namespace, has ended.
        """
        return self._block.call(function, self._inner, *args, **kwargs)

    def ask(self, function: Callable[[A_co], R], /) -> R:
        """Call a function with the object of the async API, in the thread of its trio loop.

        For what has no method here, and does not wait: ``host.ask(lambda host: host.mtu)``.
        """
        return self._block.call_sync(function, self._inner)


def plain(
    method: Callable[Concatenate[A, P], R],
) -> Callable[Concatenate[Handle[A], P], R]:
    """Make a method that calls a synchronous one in the thread of the loop."""

    @wraps(method)
    def call(self: Handle[A], /, *args: P.args, **kwargs: P.kwargs) -> R:
        return self._block.call_sync(method, self._inner, *args, **kwargs)

    return call


def waiting(
    method: Callable[Concatenate[A, P], Awaitable[R]],
) -> Callable[Concatenate[Handle[A], P], R]:
    """Make a method that waits for an async one."""

    @wraps(method)
    def call(self: Handle[A], /, *args: P.args, **kwargs: P.kwargs) -> R:
        return self._block.call(method, self._inner, *args, **kwargs)

    return call
