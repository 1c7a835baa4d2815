"""Run a command in trio: signals, error lines, exit statuses."""

from __future__ import annotations

import logging
import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import trio

from tunstack.cli.status import Failure, OutputClosed, output_failure, print_error
from tunstack.link.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping

    from tunstack import Host, Namespace, TcpInfo, Workers

_NOT_FOUND: Final = 127
_NOT_EXECUTABLE: Final = 126


def execute(
    name: str,
    main: Callable[[], Awaitable[int]],
    *,
    ignore: Callable[[int], bool] = lambda _: False,
) -> int:
    """Run `main` in trio until it returns, or until SIGINT or SIGTERM cancels it.

    Args:
        name: The prefix of error messages.
        main: Returns the exit status.
        ignore: Whether to ignore a signal at this moment.

    Returns:
        The exit status of `main`; 128 + N after signal N; 2 for a `SetupError`.

    Raises:
        OutputClosed: standard output was closed by its reader.
    """
    logging.basicConfig(format=f"{name}: %(message)s")
    try:
        return trio.run(_until_signal, main, ignore)
    except BaseExceptionGroup as group:
        errors = list(leaves(group))
        if all(isinstance(error, (BrokenPipeError, OutputClosed)) for error in errors):
            raise OutputClosed from None
        failures = [_as_failure(error) for error in errors]
        if None in failures:
            raise
        failure = failures[0]
    except (SetupError, Failure, OSError) as error:
        failure = _as_failure(error)
        if failure is None:
            raise
    assert failure is not None
    print_error(name, str(failure))
    return failure.status


def leaves(error: BaseException) -> Iterator[BaseException]:
    """The exceptions in a group, however deep."""
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from leaves(each)
    else:
        yield error


def _as_failure(error: BaseException) -> Failure | None:
    if isinstance(error, SetupError):
        return Failure(str(error))
    return error if isinstance(error, Failure) else output_failure(error)


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


async def run_inside(
    namespace: Namespace,
    command: tuple[str, ...],
    host: str,
    host6: str | None = None,
    *,
    stdout: int | None = None,
    environment: Mapping[str, str] | None = None,
) -> int:
    """Run a command in a namespace, with the other end's addresses in the environment.

    Args:
        namespace: Where to run it.
        command: The program and its arguments.
        host: The other end's IPv4 address: TUNSTACK_HOST.
        host6: Its IPv6 address, if it has one: TUNSTACK_HOST6.
        stdout: The descriptor of its standard output; None for ours.
        environment: Further variables of its environment.

    Returns:
        Its exit status; 128 + N when signal N ended it.

    Raises:
        Failure: it cannot be executed.
    """
    variables = {**os.environ, **(environment or {}), "TUNSTACK_HOST": host}
    variables.pop("TUNSTACK_HOST6", None)
    if host6 is not None:
        variables["TUNSTACK_HOST6"] = host6
    try:
        result = await namespace.run_process(
            command, stdin=None, stdout=stdout, check=False, env=variables
        )
    except FileNotFoundError:
        raise Failure(f"{command[0]}: no such command", _NOT_FOUND) from None
    except OSError as error:
        message = f"{command[0]} cannot be executed: {error.strerror}"
        raise Failure(message, _NOT_EXECUTABLE) from None
    # The interrupt that ended it may be in trio's queue still, and is not ours: let it be seen.
    for _ in range(3):
        await trio.lowlevel.checkpoint()
    return 128 - result.returncode if result.returncode < 0 else result.returncode


async def settle(host: Host | Workers) -> None:
    """Wait until every connection is closed or in TIME-WAIT.

    Applications end before their last segments are acknowledged: the host must go on until then.
    """
    # Polling, as it happens only once at the end of a command.
    while any(  # noqa: ASYNC110
        each.state != "TIME-WAIT" for each in await _connections(host)
    ):
        await trio.sleep(0.005)


async def _connections(host: Host | Workers) -> list[TcpInfo]:
    answer = host.connections()
    return answer if isinstance(answer, list) else await answer


def in_foreground(*, controlling: bool = False) -> bool:
    """Whether our process group is in the foreground of a terminal, and gets its Ctrl-C.

    Args:
        controlling: Whether the terminal is the controlling one; else that of a standard stream.
    """
    if controlling:
        with suppress(OSError), open(os.ctermid(), "rb", buffering=0) as terminal:
            return os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    for descriptor in range(3):
        with suppress(OSError):
            return os.tcgetpgrp(descriptor) == os.getpgrp()
    return False
