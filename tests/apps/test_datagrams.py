"""Echo, discard and chargen over UDP: on a host, and on the kernel's sockets."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.socket.network import OURS, host_pair
from tunstack.apps import APPS
from tunstack.apps.chargen import PATTERN

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tunstack import Host

INET, DATAGRAMS = socket.AF_INET, socket.SOCK_DGRAM


@pytest.fixture
async def hosts() -> AsyncIterator[tuple[Host, Host]]:
    """The first serves all that there is over UDP."""
    async with host_pair() as (ours, theirs), trio.open_nursery() as nursery:
        for app in APPS.values():
            if app.datagram_handler is not None:
                await nursery.start(ours.serve_udp, app.datagram_handler, app.port)
        with trio.fail_after(30):
            yield ours, theirs
        nursery.cancel_scope.cancel()


async def test_echo_sends_back_what_it_receives(hosts: tuple[Host, Host]) -> None:
    """RFC 862."""
    with hosts[1].socket(INET, DATAGRAMS) as client:
        for data in (b"x", b"", bytes(1472)):
            await client.sendto(data, (OURS, 7))
            assert await client.recvfrom(2000) == (data, (OURS, 7))


async def test_discard_sends_nothing(hosts: tuple[Host, Host]) -> None:
    """RFC 863."""
    with hosts[1].socket(INET, DATAGRAMS) as client:
        await client.connect((OURS, 9))
        await client.send(b"x")
        await wait_all_tasks_blocked()
        assert not client.is_readable()


async def test_chargen_answers_with_up_to_512_characters(hosts: tuple[Host, Host]) -> None:
    """RFC 864."""
    sizes = set()
    with hosts[1].socket(INET, DATAGRAMS) as client:
        await client.connect((OURS, 19))
        for _ in range(50):
            await client.send(b"whatever")
            data = await client.recv(2000)
            assert data == PATTERN[: len(data)]
            sizes.add(len(data))
    assert max(sizes) <= 512
    assert len(sizes) > 10


@pytest.mark.parametrize("port", [7, 9, 19])
@pytest.mark.parametrize("source", [7, 19, 53, 1023])
async def test_services_do_not_answer_each_other(
    hosts: tuple[Host, Host], port: int, source: int
) -> None:
    ours, theirs = hosts
    with theirs.socket(INET, DATAGRAMS) as client:
        await client.bind(("", source))
        await client.sendto(b"x", (OURS, port))
        await wait_all_tasks_blocked()
        assert ours.statistics()["udp_received"] == 1
        assert ours.statistics()["udp_sent"] == 0


async def test_a_service_does_not_answer_its_own_kind(hosts: tuple[Host, Host]) -> None:
    ours, theirs = hosts
    echo = APPS["echo"].datagram_handler
    assert echo is not None
    async with trio.open_nursery() as nursery:
        await nursery.start(ours.serve_udp, echo, 7007)
        with theirs.socket(INET, DATAGRAMS) as client:
            await client.bind(("", 7007))
            await client.sendto(b"x", (OURS, 7007))
            await wait_all_tasks_blocked()
            assert ours.statistics()["udp_sent"] == 0
        nursery.cancel_scope.cancel()


def test_http_has_no_datagrams() -> None:
    assert [app.name for app in APPS.values() if app.datagram_handler is not None] == [
        "echo",
        "discard",
        "chargen",
        "dns",
    ]
