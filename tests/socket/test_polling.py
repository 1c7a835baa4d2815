"""Looking at the device again, and not sleeping, where packets come soon after each other."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
import trio

from tunstack import Host
from tunstack.host.polling import Polling

if TYPE_CHECKING:
    from tunstack.link.base import Buffer

SOON, LATE = 20e-6, 1e-3


def after(*sleeps: float) -> int:
    polling = Polling()
    for seconds in sleeps:
        polling.slept(seconds)
    return polling.polls


@pytest.mark.parametrize("sleeps", [(), (SOON,), (LATE, LATE, LATE), (SOON, LATE, SOON)])
def test_no_polling_when_packets_are_rare(sleeps: tuple[float, ...]) -> None:
    assert after(*sleeps) == 0


def test_where_packets_come_soon_after_each_other_it_looks_again() -> None:
    assert after(SOON, SOON) > 0
    assert after(LATE, SOON, SOON) > 0


def test_what_pauses_has_to_come_soon_twice_again() -> None:
    assert after(SOON, SOON, LATE) == 0
    assert after(SOON, SOON, LATE, SOON) == 0
    assert after(SOON, SOON, LATE, SOON, SOON) > 0


def test_where_looking_did_not_help_it_is_tried_seldom() -> None:
    """The looks were in vain, and then it came soon: the peer could not run meanwhile."""
    tries = [count for count in range(1000) if after(*(SOON,) * count) > 0]
    [between] = {later - earlier for earlier, later in pairwise(tries)}
    assert between > 20


class SlowLink:
    """A link to which a packet comes after so many looks; one that is no packet will do."""

    name, mtu, offload = "slow", 1500, False

    def __init__(self, looks: int) -> None:
        self.polls = self.left = looks
        self.slept = self.brought = 0

    def fileno(self) -> int:
        return -1

    def receive(self, limit: int = 256) -> list[Buffer]:
        self.left -= 1
        if self.left > 0:
            return []
        self.left = self.polls
        self.brought += 1
        return [b"no packet"]

    def send(self, packet: object) -> bool:
        return True

    async def wait_readable(self) -> None:
        self.slept += 1
        self.left = 1
        await trio.lowlevel.checkpoint()

    async def wait_writable(self) -> None:
        await trio.sleep_forever()

    def close(self) -> None:
        pass


@pytest.mark.parametrize(("looks", "sleeps"), [(3, False), (100, True)])
async def test_a_host_sleeps_only_where_looking_again_found_nothing(
    looks: int, sleeps: bool, autojump_clock: trio.testing.MockClock
) -> None:
    """By this clock, which stands still while something runs, everything comes soon."""
    link = SlowLink(looks)
    async with Host(link, ["198.51.100.2/24"]):
        while link.brought < 500:
            await trio.lowlevel.checkpoint()
        assert (link.slept > 100) is sleeps
        link.wait_readable = trio.sleep_forever  # type: ignore[method-assign]
        link.polls = link.left = 1 << 30
