"""A private network namespace, and hosts, for programs that know no trio."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, final

import tunstack
from tunstack.blocking.handle import Handle, plain, waiting
from tunstack.blocking.host import Host, Shared
from tunstack.blocking.portal import Block
from tunstack.blocking.process import open_process, run_process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractAsyncContextManager, AbstractContextManager

    from tunstack.deploy.naming import NamesLike
    from tunstack.stack.observation import Observation

    Tap = Callable[[Observation], None]

P = ParamSpec("P")


@contextmanager
def open_namespace(
    names: NamesLike | None = None, *, watch: Callable[[], Tap] | None = None
) -> Iterator[Namespace]:
    """Create a private network namespace, and a thread that runs its hosts.

    When the block ends, for whatever reason, its hosts, devices, sockets and processes are gone.

    Args:
        names: Names of the network, as :func:`tunstack.open_namespace` takes them.
        watch: Called for each host that is opened, by whomever; returns a tap of it, beside that
            which may be given with the host.

    Raises:
        SetupError: the system does not allow it, and the message says what to do; or `names` are
            given, and dnspython is not installed.
        ValueError: `names` are malformed.
    """
    with ExitStack() as ends, Block(tunstack.open_namespace(names)) as block:
        yield Namespace(block, block.value, Shared(ends), watch)


def _opening(
    function: Callable[P, AbstractAsyncContextManager[tunstack.Host]],
) -> Callable[P, AbstractContextManager[Host]]:
    """Make the function that opens a host in the current namespace."""

    @contextmanager
    def opened(*args: P.args, **kwargs: P.kwargs) -> Iterator[Host]:
        with ExitStack() as ends, Block(function(*args, **kwargs)) as block:
            yield Host(block, block.value, Shared(ends))

    return wraps(function)(opened)


open_host = _opening(tunstack.open_host)


def _opening_within(
    method: Callable[
        Concatenate[tunstack.Namespace, P], AbstractAsyncContextManager[tunstack.Host]
    ],
) -> Callable[Concatenate[Namespace, P], AbstractContextManager[Host]]:
    """Make the method that opens a host in a namespace."""

    @contextmanager
    def opened(self: Namespace, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[Host]:
        kwargs["tap"] = self._tapped(kwargs.get("tap"))
        with Block(method(self._inner, *args, **kwargs), self._block) as block:
            yield Host(block, block.value, self._shared)

    return wraps(method)(opened)


@final
class Namespace(Handle[tunstack.Namespace]):
    """A private network namespace; see :func:`open_namespace` and `tunstack.Namespace`."""

    def __init__(
        self,
        block: Block[Any],
        inner: tunstack.Namespace,
        shared: Shared,
        watch: Callable[[], Tap] | None,
    ) -> None:
        super().__init__(block, inner)
        self._shared = shared
        self._watch = watch

    open_host = _opening_within(tunstack.Namespace.open_host)
    run_process = run_process
    open_process = open_process
    sysctl = plain(tunstack.Namespace.sysctl)
    run_in_thread = waiting(tunstack.Namespace.run_in_thread)

    def sockets(self) -> AbstractContextManager[None]:
        """Create the sockets of this process in the namespace while the block runs.

        So whatever is made of Python's sockets reaches its hosts: requests, asyncio, redis-py...
        :meth:`tunstack.Namespace.sockets` says what is not caught.

        Raises:
            RuntimeError: the sockets of this process are in another namespace.
        """
        return self._inner.sockets()

    @property
    def pid(self) -> int:
        """Process id of the namespace's holder, for ``nsenter --net --target PID``."""
        return self._inner.pid

    @property
    def authority(self) -> tunstack.Authority:
        """The authority of its hosts' certificates; see :meth:`Host.authority`."""
        return self._shared.authority

    def _tapped(self, given: Any) -> Tap | None:
        """The tap of a new host: that which was given, and that of who watches."""
        if self._watch is None:
            tap: Tap | None = given
            return tap
        watching = self._watch()
        if given is None:
            return watching

        def both(seen: Observation) -> None:
            watching(seen)
            given(seen)

        return both
