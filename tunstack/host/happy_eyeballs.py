"""Connecting to one of several addresses: Happy Eyeballs (RFC 8305)."""

from __future__ import annotations

import errno
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, Final, TypeVar

import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from tunstack.socket import Socket

ATTEMPT_DELAY: Final = 0.25
"""Seconds after which the next address is tried beside the one before (RFC 8305 section 5)."""

T = TypeVar("T")


def interleaved(targets: Sequence[tuple[int, T]]) -> list[tuple[int, T]]:
    """Alternate the families of `targets`, from that of the first on (RFC 8305 section 4)."""
    if not targets:
        return []
    first = [each for each in targets if each[0] == targets[0][0]]
    others = [each for each in targets if each[0] != targets[0][0]]
    pairs = chain.from_iterable(zip_longest(first, others))
    return [each for each in pairs if each is not None]


async def first_connected(attempts: Sequence[Callable[[], Awaitable[Socket]]]) -> Socket:
    """Return what the first attempt to succeed returns; the others are cancelled.

    An attempt begins when the one before has failed, or has taken `ATTEMPT_DELAY`.

    Raises:
        OSError: all have failed: the error of the only one, or one with what all have said.
    """
    if len(attempts) == 1:
        return await attempts[0]()
    errors: list[OSError] = []
    winner: Socket | None = None

    async def attempt(
        connect: Callable[[], Awaitable[Socket]], failed: trio.Event, scope: trio.CancelScope
    ) -> None:
        nonlocal winner
        try:
            sock = await connect()
        except OSError as error:
            errors.append(error)
            failed.set()
            return
        if winner is None:
            winner = sock
            scope.cancel()
        else:
            sock.close()

    async with trio.open_nursery() as nursery:
        for connect in attempts:
            failed = trio.Event()
            nursery.start_soon(attempt, connect, failed, nursery.cancel_scope)
            with trio.move_on_after(ATTEMPT_DELAY):
                await failed.wait()
    if winner is not None:
        return winner
    numbers = {error.errno for error in errors}
    number = numbers.pop() if len(numbers) == 1 else errno.EHOSTUNREACH
    said = "; ".join(error.strerror or str(error) for error in errors)
    raise OSError(number, said) from ExceptionGroup("all attempts failed", errors)
