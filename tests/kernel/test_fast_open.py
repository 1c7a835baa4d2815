"""TCP Fast Open (RFC 7413) with the kernel on the other side, in both roles; it counts."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import pytest
import trio

from tests.kernel.sockets import exactly, read_to_end, send_all
from tunstack.socket.options.tcp import MSG_FASTOPEN, TCP_FASTOPEN, TCP_FASTOPEN_CONNECT

if TYPE_CHECKING:
    from tests.kernel.ends import Ends
    from tests.kernel.judge import Judge
    from tunstack import Host, Namespace, Socket

pytestmark = [pytest.mark.kernel, pytest.mark.both_families]

IPPROTO_TCP: Final = trio.socket.IPPROTO_TCP
REQUEST: Final = b"question " * 20
ANSWER: Final = b"answer " * 5000
REMARKS: Final = ("TCP SYN with TFO Cookie", "TCP SYN-ACK accepting TFO data")
SENT_TWICE: Final = ("TCP SYN-ACK ignoring TFO data", "Fail", "Retrans", "retransmission")
"""What the refusal of a SYN's data is called by the one or the other."""


@pytest.fixture
def ns(ns: Namespace) -> Namespace:
    """Whose kernel opens fast, as client and as server."""
    ns.sysctl("net.ipv4.tcp_fastopen", 3)
    return ns


async def kernels_listener(ns: Namespace, ends: Ends) -> trio.socket.SocketType:
    sock = ns.socket(ends.family)
    await sock.bind((ends.kernel, 0))
    sock.setsockopt(IPPROTO_TCP, TCP_FASTOPEN, 5)
    sock.listen()
    return sock


async def our_listener(host: Host, ends: Ends, queue: int = 5) -> Socket:
    sock = host.socket(ends.family)
    await sock.bind((ends.ours, 0))
    sock.setsockopt(IPPROTO_TCP, TCP_FASTOPEN, queue)
    sock.listen()
    return sock


async def answer_one(listener: trio.socket.SocketType) -> None:
    """Accept a connection, read the request, answer, and see the peer's half end as well.

    Else the host might be gone before the peer's FIN is there, and take leave with a RST.
    """
    sock, _ = await listener.accept()
    with sock:
        assert await exactly(sock, len(REQUEST)) == REQUEST
        await send_all(sock, ANSWER)
        assert await read_to_end(sock) == b""


async def ask(client: trio.socket.SocketType, address: tuple[str | int, ...], *, by: str) -> None:
    """Ask with the first packet, where that is possible, and read the answer."""
    with client:
        if by == "sendto":
            assert await client.sendto(REQUEST, MSG_FASTOPEN, address) == len(REQUEST)
        else:
            client.setsockopt(IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1)
            await client.connect(address)
            assert await client.send(REQUEST) == len(REQUEST)
        assert await read_to_end(client) == ANSWER


@pytest.mark.parametrize("role", ["client", "server"])
async def test_tcp_info_reports_data_in_the_syn_at_both_ends(
    ns: Namespace, host: Host, role: str, ends: Ends
) -> None:
    """TCPI_OPT_SYN_DATA: not of the first connection, which fetches the cookie."""
    make = kernels_listener(ns, ends) if role == "client" else our_listener(host, ends)
    with await make as listener:
        for syn_data in (False, True):
            client = host.socket(ends.family) if role == "client" else ns.socket(ends.family)
            with client:
                await client.sendto(b"x", MSG_FASTOPEN, listener.getsockname())
                server, _ = await listener.accept()
                with server:
                    assert await exactly(server, 1) == b"x"
                    await server.send(b"y")
                    assert await exactly(client, 1) == b"y"
                    for end in (client, server):
                        options = end.getsockopt(IPPROTO_TCP, trio.socket.TCP_INFO, 8)[5]
                        assert bool(options & 32) is syn_data
                    await send_all(client, b"")
                    await send_all(server, b"")
                    assert await read_to_end(client) == await read_to_end(server) == b""


async def exchange(
    listener: trio.socket.SocketType, client: trio.socket.SocketType, *, by: str = "connect"
) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer_one, listener)
        nursery.start_soon(partial(ask, client, listener.getsockname(), by=by))


async def fast_open_counters(judge: Judge) -> dict[str, int]:
    """The kernel's, those that are not 0, by the rest of their names."""
    prefix = "TcpExt.TCPFastOpen"
    counts = await judge.kernel()
    return {
        name.removeprefix(prefix): count
        for name, count in counts.items()
        if name.startswith(prefix) and count
    }


def ours(host: Host) -> dict[str, int]:
    """Our counters, those that are not 0, by the rest of their names."""
    prefix = "fast_open_"
    return {
        name.removeprefix(prefix): count
        for name, count in host.statistics().items()
        if name.startswith(prefix) and count
    }


async def acquit(judge: Judge, *, accepted: int, refused: int = 0) -> None:
    """All went well, but for so many SYNs whose data was `refused`; Wireshark sees it likewise."""
    await judge.acquit(but_for=(*REMARKS, *(SENT_TWICE if refused else ())))
    remarks = {complaint.what: complaint.times for complaint in await judge.expert()}
    assert remarks.get("TCP SYN-ACK accepting TFO data", 0) == accepted
    assert remarks.get("TCP SYN-ACK ignoring TFO data", 0) == refused


@pytest.mark.rfc("7413:4.1.3", "7413:4.2.1", "7413:4.2.2")
@pytest.mark.parametrize("by", ["connect", "sendto"])
async def test_the_kernel_accepts_our_data(
    ns: Namespace, judge: Judge, by: str, ends: Ends
) -> None:
    async with judge.open_host() as host:
        with await kernels_listener(ns, ends) as listener:
            for _ in range(3):
                await exchange(listener, host.socket(ends.family), by=by)
        assert ours(host) == {"requested": 1, "active": 2}
    assert await fast_open_counters(judge) == {"CookieReqd": 1, "Passive": 2}
    await acquit(judge, accepted=2)


@pytest.mark.rfc("7413:4.1.2", "7413:4.2.1", "7413:4.2.2")
async def test_we_accept_the_kernel_s_data(ns: Namespace, judge: Judge, ends: Ends) -> None:
    async with judge.open_host() as host:
        with await our_listener(host, ends) as listener:
            for _ in range(3):
                await exchange(listener, ns.socket(ends.family))
        assert ours(host) == {"cookies_given": 1, "passive": 2}
    assert await fast_open_counters(judge) == {"Active": 2}
    await acquit(judge, accepted=2)


@pytest.mark.rfc("7413:4.1.3", "7413:4.2.2")
async def test_the_kernel_changes_its_key(ns: Namespace, judge: Judge, ends: Ends) -> None:
    """It gives us another cookie then, and our data goes out once more."""
    async with judge.open_host() as host:
        with await kernels_listener(ns, ends) as listener:
            await exchange(listener, host.socket(ends.family))
            ns.sysctl("net.ipv4.tcp_fastopen_key", "01234567-89abcdef-01234567-89abcdef")
            for _ in range(2):
                await exchange(listener, host.socket(ends.family))
        assert ours(host) == {"requested": 1, "active_failed": 1, "active": 1}
    assert await fast_open_counters(judge) == {"CookieReqd": 1, "PassiveFail": 1, "Passive": 1}
    await acquit(judge, accepted=1, refused=1)


@pytest.mark.rfc("7413:4.1.2", "7413:4.2.2")
async def test_the_kernel_has_a_cookie_of_another_host(
    ns: Namespace, judge: Judge, ends: Ends
) -> None:
    async with judge.open_host() as host:
        with await our_listener(host, ends) as listener:
            await exchange(listener, ns.socket(ends.family))
    async with judge.open_host() as host:
        with await our_listener(host, ends) as listener:
            for _ in range(2):
                await exchange(listener, ns.socket(ends.family))
        assert ours(host) == {"passive_failed": 1, "passive": 1}
    assert await fast_open_counters(judge) == {"ActiveFail": 1, "Active": 1}
    await acquit(judge, accepted=1, refused=1)


@pytest.mark.rfc("7413:4.1.3")
async def test_the_kernel_does_not_open_fast(ns: Namespace, judge: Judge, ends: Ends) -> None:
    """We ask for a cookie each time; nobody loses anything."""
    ns.sysctl("net.ipv4.tcp_fastopen", 0)
    async with judge.open_host() as host:
        with ns.socket(ends.family) as listener:
            await listener.bind((ends.kernel, 0))
            listener.listen()
            for _ in range(2):
                await exchange(listener, host.socket(ends.family))
        assert ours(host) == {"requested": 2}
    await acquit(judge, accepted=0)


@pytest.mark.rfc("7413:4.2")
async def test_our_listener_does_not_open_fast_by_default(
    ns: Namespace, judge: Judge, ends: Ends
) -> None:
    async with judge.open_host() as host:
        with await our_listener(host, ends, queue=0) as listener:
            for _ in range(2):
                await exchange(listener, ns.socket(ends.family))
        assert ours(host) == {}
    assert await fast_open_counters(judge) == {}
    await acquit(judge, accepted=0)
