"""Running a command: signals, errors on one line, exit statuses."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import trio

from tunstack.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from tunstack import Host, Namespace, TcpInfo, Workers

USAGE: Final = 2
"""The exit status for a mistake of the user's."""

_NOT_FOUND: Final = 127
_NOT_EXECUTABLE: Final = 126


class Failure(Exception):
    """The command cannot go on; the message is one line for the user.

    Attributes:
        status: The exit status.
    """

    def __init__(self, message: str, status: int = USAGE) -> None:
        super().__init__(message)
        self.status = status


class Unread(Exception):
    """Nobody reads what is printed any more; not an OSError, of which click makes an exit."""


def execute(
    name: str,
    main: Callable[[], Awaitable[int]],
    *,
    ignore: Callable[[int], bool] = lambda _: False,
) -> int:
    """Run `main` in trio until it returns, or until SIGINT or SIGTERM cancels it.

    Args:
        name: What to begin error messages with.
        main: Returns the exit status.
        ignore: Whether a signal is not for us to obey at this moment.

    Returns:
        The exit status of `main`; 128 + N after signal N; 2 for a `SetupError`.

    Raises:
        Unread: nobody reads what is printed any more.
    """
    try:
        return trio.run(_until_signal, main, ignore)
    except BaseExceptionGroup as group:
        errors = list(leaves(group))
        if all(isinstance(error, (BrokenPipeError, Unread)) for error in errors):
            raise Unread from None
        failures = [_explained(error) for error in errors]
        if None in failures:
            raise
        failure = failures[0]
    except (SetupError, Failure) as error:
        failure = _explained(error)
    assert failure is not None
    complain(name, str(failure))
    return failure.status


def complain(name: str, message: str) -> None:
    """Print one line on standard error."""
    print(f"{name}: {' '.join(message.split())}", file=sys.stderr)


def leaves(error: BaseException) -> Iterator[BaseException]:
    """The exceptions in a group, however deep."""
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from leaves(each)
    else:
        yield error


def _explained(error: BaseException) -> Failure | None:
    if isinstance(error, SetupError):
        return Failure(str(error))
    return error if isinstance(error, Failure) else None


async def _until_signal(main: Callable[[], Awaitable[int]], ignore: Callable[[int], bool]) -> int:
    status = 0
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:

            async def watch(signals: AsyncIterator[int]) -> None:
                nonlocal status
                async for number in signals:
                    if not ignore(number):
                        status = 128 + number
                        nursery.cancel_scope.cancel()

            nursery.start_soon(watch, signals)
            ended = await main()
            status = status or ended
            nursery.cancel_scope.cancel()
    return status


async def run_inside(namespace: Namespace, command: tuple[str, ...], host: str) -> int:
    """Run a command in a namespace, with the other end's address in TUNSTACK_HOST.

    Returns:
        Its exit status; 128 + N when signal N ended it.

    Raises:
        Failure: it cannot be run.
    """
    environment = {**os.environ, "TUNSTACK_HOST": host}
    try:
        result = await namespace.run_process(command, stdin=None, check=False, env=environment)
    except FileNotFoundError:
        raise Failure(f"{command[0]}: no such command", _NOT_FOUND) from None
    except OSError as error:
        message = f"{command[0]} cannot be executed: {error.strerror}"
        raise Failure(message, _NOT_EXECUTABLE) from None
    return 128 - result.returncode if result.returncode < 0 else result.returncode


async def settle(host: Host | Workers) -> None:
    """Wait until every connection has ended, as far as the peer is concerned.

    An application is done before its last packets are, and the host that owes them must not leave.
    """
    # Once, at the end of a command: not worth an event in the host.
    while any(  # noqa: ASYNC110
        each.state != "TIME-WAIT" for each in await _connections(host)
    ):
        await trio.sleep(0.005)


async def _connections(host: Host | Workers) -> list[TcpInfo]:
    answer = host.connections()
    return answer if isinstance(answer, list) else await answer


def in_foreground() -> bool:
    """Whether a key on the terminal (Ctrl-C) sends its signal to this process's whole group."""
    for descriptor in range(3):
        with suppress(OSError):
            return os.tcgetpgrp(descriptor) == os.getpgrp()
    return False
