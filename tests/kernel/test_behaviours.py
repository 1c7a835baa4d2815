"""What a client of the kernel meets at a port that misbehaves, and that other ports are well."""

from __future__ import annotations

import errno
import struct
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest
import trio
from trio.socket import (
    IPPROTO_TCP,
    SHUT_WR,
    SO_KEEPALIVE,
    SO_REUSEADDR,
    SOL_SOCKET,
    TCP_INFO,
    TCP_KEEPCNT,
    TCP_KEEPIDLE,
    TCP_KEEPINTVL,
    TCP_NODELAY,
)

from tunstack import TcpStream
from tunstack.host.host import loop_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.kernel.ends import Ends
    from tunstack import Host, Namespace, Packet, SynVerdict
    from tunstack.behaviours import BehaviourLike

pytestmark = pytest.mark.kernel

PORT: Final = 80
WELL: Final = 81
"""A port that does not misbehave."""
ANSWER: Final = bytes(octet % 251 for octet in range(20_000))
REQUEST: Final = b"what?\n"
SHORT: Final = 0.15
"""Seconds in which nothing comes."""
LIMIT: Final = 5.0
"""Seconds in which all else has come, on a busy machine."""


async def answering(stream: trio.SocketStream) -> None:
    """Answer each line."""
    received = b""
    while data := await stream.receive_some():
        received += data
        while b"\n" in received:
            _, _, received = received.partition(b"\n")
            await stream.send_all(ANSWER)
    await stream.send_eof()


class Met(NamedTuple):
    """What a client has met: the octets, and an errno, 0 for end of file, None for silence."""

    octets: bytes
    end: int | None


class Client:
    """A client of the kernel's in the namespace."""

    def __init__(self, ns: Namespace, ends: Ends) -> None:
        self._ns = ns
        self._ends = ends

    def socket(self) -> trio.socket.SocketType:
        return self._ns.socket(self._ends.family)

    async def connected(self, port: int = PORT) -> trio.socket.SocketType:
        sock = self.socket()
        try:
            with trio.fail_after(LIMIT):
                await sock.connect((self._ends.ours, port))
        except BaseException:
            sock.close()
            raise
        sock.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
        return sock

    async def connect_errno(self, port: int = PORT, within: float = LIMIT) -> int | None:
        """The errno of connect(), 0 if it succeeds, None if nothing comes within the time."""
        with self.socket() as sock, trio.move_on_after(within):
            try:
                await sock.connect((self._ends.ours, port))
            except OSError as error:
                return error.errno
            return 0
        return None

    async def meet(
        self, port: int = PORT, *, request: bytes = REQUEST, within: float = LIMIT
    ) -> Met:
        """Connect, ask, and read all."""
        with await self.connected(port) as sock:
            return await asked(sock, request, within)


async def asked(
    sock: trio.socket.SocketType,
    request: bytes = REQUEST,
    within: float = LIMIT,
    octets: int = len(ANSWER),
    least: int = 0,
) -> Met:
    """Ask, and read until the end, an error, the whole answer, or nothing comes.

    Nothing comes if it does not `within` a time, after the `least` octets that are expected.
    """
    got = b""
    try:
        if request:
            await sock.send(request)
        while len(got) < octets:
            with trio.move_on_after(LIMIT if len(got) < least else within) as scope:
                data = await sock.recv(65536)
            if scope.cancelled_caught:
                return Met(got, None)
            if not data:
                return Met(got, 0)
            got += data
    except OSError as error:
        return Met(got, error.errno)
    return Met(got, None)


WHOLE: Final = Met(ANSWER, None)


@pytest.fixture
def client(ns: Namespace, ends: Ends) -> Client:
    return Client(ns, ends)


@asynccontextmanager
async def served(
    host: Host, client: Client, behaviour: BehaviourLike, *, left: int = 0
) -> AsyncIterator[None]:
    """Have a behaviour at a port in the block.

    Meanwhile another port is well; after it the same port is, and no rule is left, but of so many
    connections that the host still has.
    """
    rules = len(host.rules)
    async with trio.open_nursery() as well:
        await well.start(host.serve_tcp, answering, WELL)
        async with trio.open_nursery() as nursery:
            serve = partial(host.serve_tcp, answering, PORT, behaviour=behaviour)
            await nursery.start(serve)
            yield
            assert await client.meet(WELL) == WHOLE
            nursery.cancel_scope.cancel()
        assert len(host.rules) == rules + left
        await well.start(host.serve_tcp, answering, PORT)
        assert await client.meet() == WHOLE
        well.cancel_scope.cancel()


def tcp_info(sock: trio.socket.SocketType, kind: str, offset: int) -> int:
    (number,) = struct.unpack_from(kind, sock.getsockopt(IPPROTO_TCP, TCP_INFO, 256), offset)
    assert isinstance(number, int)
    return number


def acknowledged(sock: trio.socket.SocketType) -> int:
    """Octets of the client's that were acknowledged; the kernel counts its SYN too."""
    return tcp_info(sock, "Q", 120) - 1


async def acknowledges(sock: trio.socket.SocketType, octets: int) -> None:
    """Wait until so many are acknowledged."""
    with trio.fail_after(LIMIT):
        while acknowledged(sock) < octets:  # noqa: ASYNC110
            await trio.sleep(0.005)


async def counter(ns: Namespace, name: str) -> int:
    """One of the namespace's counters, as nstat(8) has it."""
    shown = await ns.run_process(
        ["cat", "/proc/net/netstat", "/proc/net/snmp"], capture_stdout=True
    )
    lines = [line.split() for line in shown.stdout.decode().splitlines()]
    for names, values in zip(lines[::2], lines[1::2], strict=True):
        found = dict(zip(names, values, strict=True))
        if name in found:
            return int(found[name])
    raise KeyError(name)


# The opening of a connection


@pytest.mark.both_families
async def test_silent_answers_no_syn(host: Host, client: Client) -> None:
    async with served(host, client, "silent"):
        assert await client.connect_errno(within=SHORT) is None


@pytest.mark.both_families
async def test_refuse_answers_a_syn_with_a_rst(host: Host, client: Client) -> None:
    async with served(host, client, "refuse"):
        assert await client.connect_errno() == errno.ECONNREFUSED


@pytest.mark.both_families
@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("", (errno.EHOSTUNREACH, errno.EHOSTUNREACH)),
        ("=host", (errno.EHOSTUNREACH, errno.EHOSTUNREACH)),
        ("=network", (errno.ENETUNREACH, errno.ENETUNREACH)),
        ("=port", (errno.ECONNREFUSED, errno.ECONNREFUSED)),
        ("=prohibited", (errno.EHOSTUNREACH, errno.EACCES)),
    ],
)
async def test_unreachable_answers_a_syn_with_an_icmp_error(
    host: Host, client: Client, ends: Ends, what: str, expected: tuple[int, int]
) -> None:
    async with served(host, client, f"unreachable{what}"):
        assert await client.connect_errno() == expected[ends.name == "IPv6"]


async def test_drop_syn_makes_a_connection_open_with_the_next_syn(
    host: Host, client: Client, ns: Namespace
) -> None:
    async with served(host, client, "drop-syn=1"):
        assert await client.connect_errno(within=SHORT) is None
        with await client.connected() as sock:
            assert await counter(ns, "TCPSynRetrans") >= 1
            assert await asked(sock) == WHOLE


async def test_slow_accept_delays_the_syn_ack(host: Host, client: Client) -> None:
    async with served(host, client, "slow-accept=250ms"):
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.meet, WELL)
            with await client.connected() as sock:
                assert trio.current_time() - began >= 0.25
                assert await asked(sock) == WHOLE


async def test_full_backlog_opens_so_many_and_serves_none(host: Host, client: Client) -> None:
    async with served(host, client, "full-backlog=2"):
        with await client.connected() as first, await client.connected() as second:
            assert await asked(first, within=SHORT) == Met(b"", None)
            assert await asked(second, within=0.0) == Met(b"", None)
            assert await client.connect_errno(within=SHORT) is None
    async with served(host, client, "full-backlog"):
        assert await client.connect_errno(within=SHORT) is None


async def test_fail_first_refuses_the_first_connections(host: Host, client: Client) -> None:
    async with served(host, client, "fail-first=2"):
        assert [await client.connect_errno() for _ in range(2)] == [errno.ECONNREFUSED] * 2
        assert await client.meet() == WHOLE
        assert await client.meet() == WHOLE


# The program behind the port


async def test_slow_answer_is_late_by_so_much_each_time(host: Host, client: Client) -> None:
    async with served(host, client, "slow-answer=100ms"):
        with await client.connected() as sock:
            for _ in range(2):
                began = trio.current_time()
                assert await asked(sock) == WHOLE
                assert trio.current_time() - began >= 0.1


async def test_trickle_sends_small_pieces(host: Host, client: Client) -> None:
    async with served(host, client, "trickle=4000/30ms"):
        with await client.connected() as sock:
            began = trio.current_time()
            await sock.send(REQUEST)
            pieces = [len(await sock.recv(65536)) for _ in range(5)]
            assert pieces == [4000] * 5
            assert trio.current_time() - began >= 0.12


async def test_slow_reader_lets_the_window_close(host: Host, client: Client) -> None:
    async with served(host, client, "slow-reader=8kbit"):
        with await client.connected() as sock:
            sent = 0
            with trio.move_on_after(SHORT):
                while True:
                    sent += await sock.send(bytes(100_000))
            await acknowledges(sock, 1)
            assert acknowledged(sock) < sent
            assert acknowledged(sock) < 20_000


async def test_nonsense_is_in_the_place_of_an_answer(host: Host, client: Client) -> None:
    async with served(host, client, "nonsense=100"):
        first, second = [await client.meet() for _ in range(2)]
        assert first == second
        assert (len(first.octets), first.end) == (100, 0)
        assert first.octets != ANSWER[:100]


# The end of a connection


async def test_reset_on_accept(host: Host, client: Client) -> None:
    async with served(host, client, "reset-on-accept"):
        assert await client.meet(request=b"") == Met(b"", errno.ECONNRESET)


async def test_close_on_accept_is_end_of_file(host: Host, client: Client) -> None:
    async with served(host, client, "close-on-accept"):
        assert await client.meet() == Met(b"", 0)


@pytest.mark.both_families
@pytest.mark.parametrize("octets", [1, 4096, 20_000])
async def test_reset_after_octets_of_the_answer(host: Host, client: Client, octets: int) -> None:
    async with served(host, client, f"reset-after={octets}"):
        with await client.connected() as sock:
            met = await asked(sock, octets=20_001)
        assert met == Met(ANSWER[:octets], errno.ECONNRESET)


async def test_reset_after_octets_of_the_request(host: Host, client: Client) -> None:
    async with served(host, client, f"in:reset-after={2 * len(REQUEST) - 1}"):
        with await client.connected() as sock:
            assert await asked(sock) == WHOLE
            assert await asked(sock) == Met(b"", errno.ECONNRESET)


async def test_reset_after_a_time(host: Host, client: Client) -> None:
    async with served(host, client, "reset-after=50ms"):
        with await client.connected() as sock:
            assert await asked(sock) == WHOLE
            assert await asked(sock, b"") == Met(b"", errno.ECONNRESET)


async def test_close_after_octets_cuts_the_answer(host: Host, client: Client) -> None:
    async with served(host, client, "close-after=4096"):
        with await client.connected() as sock:
            assert await asked(sock) == Met(ANSWER[:4096], 0)
            # What comes then is taken, and has no answer.
            await sock.send(REQUEST)
            assert await asked(sock, b"") == Met(b"", 0)


async def test_half_close_lets_the_program_read_on(host: Host, client: Client) -> None:
    lines: list[bytes] = []

    async def reading(stream: trio.SocketStream) -> None:
        await stream.send_all(ANSWER)
        async for data in stream:
            lines.append(bytes(data))

    async with trio.open_nursery() as nursery:
        serve = partial(host.serve_tcp, reading, PORT, behaviour="half-close=4096")
        await nursery.start(serve)
        with await client.connected() as sock:
            assert await asked(sock, b"") == Met(ANSWER[:4096], 0)
            await sock.send(b"after the end")
            with trio.fail_after(LIMIT):
                while not lines:  # noqa: ASYNC110
                    await trio.sleep(0.005)
        assert lines == [b"after the end"]
        nursery.cancel_scope.cancel()


async def test_reset_at_end_loses_nothing_but_the_end_of_file(host: Host, client: Client) -> None:
    async with served(host, client, "reset-at-end"):
        with await client.connected() as sock:
            await sock.send(REQUEST)
            sock.shutdown(SHUT_WR)
            met = await asked(sock, b"", octets=len(ANSWER) + 1)
            assert met == Met(ANSWER, errno.ECONNRESET)


async def test_reset_at_end_does_not_wait_for_a_program_that_reads_on(
    host: Host, client: Client
) -> None:
    broken = trio.Event()

    async def reading_on(stream: TcpStream) -> None:
        await stream.receive_some()
        await stream.send_all(ANSWER)
        await stream.send_eof()
        try:
            await stream.receive_some()
        except trio.BrokenResourceError:
            broken.set()

    async with trio.open_nursery() as nursery:
        await nursery.start(partial(host.serve_tcp, reading_on, PORT, behaviour="reset-at-end"))
        with await client.connected() as sock:
            assert await asked(sock, octets=len(ANSWER) + 1) == Met(ANSWER, errno.ECONNRESET)
        with trio.fail_after(LIMIT):
            await broken.wait()
        nursery.cancel_scope.cancel()


async def test_late_fin_keeps_the_client_waiting_for_end_of_file(
    host: Host, client: Client
) -> None:
    async with served(host, client, "late-fin=150ms"):
        with await client.connected() as sock:
            await sock.send(REQUEST)
            sock.shutdown(SHUT_WR)
            began = trio.current_time()
            assert await asked(sock, b"", octets=len(ANSWER) + 1) == Met(ANSWER, 0)
            assert trio.current_time() - began >= 0.15


@pytest.mark.parametrize("octets", [0, 100])
async def test_stall_after_octets_goes_on_acknowledging(
    host: Host, client: Client, octets: int
) -> None:
    async with served(host, client, f"stall-after={octets}"):
        with await client.connected() as sock:
            assert await asked(sock, within=SHORT, least=octets) == Met(ANSWER[:octets], None)
            await acknowledges(sock, len(REQUEST))
            assert acknowledged(sock) == len(REQUEST)


@pytest.mark.parametrize("octets", [0, 4096])
async def test_vanish_after_octets_is_silence(host: Host, client: Client, octets: int) -> None:
    async with served(host, client, f"vanish-after={octets}"):
        with await client.connected() as sock:
            assert await asked(sock, within=SHORT, least=octets) == Met(ANSWER[:octets], None)
            before = acknowledged(sock)
            await sock.send(b"are you there?")
            assert await asked(sock, b"", within=SHORT) == Met(b"", None)
            assert acknowledged(sock) == before


async def test_who_has_vanished_is_silent_after_its_port_has_ended(
    host: Host, client: Client
) -> None:
    async with trio.open_nursery() as nursery:
        serve = partial(host.serve_tcp, answering, PORT, behaviour="vanish-after")
        await nursery.start(serve)
        sock = await client.connected()
        with trio.fail_after(LIMIT):
            while not loop_of(host).gate.silence:  # noqa: ASYNC110
                await trio.sleep(0.005)
        nursery.cancel_scope.cancel()
    with sock:
        assert await asked(sock, within=SHORT) == Met(b"", None)


@pytest.mark.parametrize("octets", [0, 4096])
async def test_half_open_answers_the_next_octets_with_a_rst(
    host: Host, client: Client, octets: int
) -> None:
    async with served(host, client, f"half-open={octets}"):
        with await client.connected() as sock:
            request = REQUEST if octets else b""
            met = await asked(sock, request, within=SHORT, least=octets)
            assert met == Met(ANSWER[:octets], None)
            assert await asked(sock) == Met(b"", errno.ECONNRESET)


@pytest.mark.parametrize(
    ("behaviour", "end"),
    [("close-idle=80ms", 0), ("reset-idle=80ms", errno.ECONNRESET), ("vanish-idle=80ms", None)],
)
async def test_an_idle_connection_ends(
    host: Host, client: Client, behaviour: str, end: int | None
) -> None:
    async with served(host, client, behaviour):
        with await client.connected() as sock:
            for _ in range(3):
                assert await asked(sock) == WHOLE
            began = trio.current_time()
            assert await asked(sock, b"", within=LIMIT if end is not None else SHORT) == Met(
                b"", end
            )
            assert trio.current_time() - began >= 0.07
            if end is None:
                assert await asked(sock, within=SHORT) == Met(b"", None)


# The network before the port


@pytest.mark.parametrize("behaviour", ["loss=100%", "in:loss=100%", "out:loss=100%"])
async def test_loss_of_all_packets_is_silence(host: Host, client: Client, behaviour: str) -> None:
    async with served(host, client, behaviour):
        assert await client.connect_errno(within=SHORT) is None


async def test_delay_is_in_both_directions_or_in_one(host: Host, client: Client) -> None:
    for behaviour, least in (("delay=60ms", 0.24), ("out:delay=60ms", 0.12)):
        async with served(host, client, behaviour):
            began = trio.current_time()
            assert await client.meet() == WHOLE
            assert trio.current_time() - began >= least


async def test_jitter_makes_answers_late_by_different_times(host: Host, client: Client) -> None:
    async with served(host, client, "out:jitter=60ms"):
        times: list[float] = []
        with await client.connected() as sock:
            for _ in range(100):  # A dozen nearly always do, by chance.
                began = trio.current_time()
                assert await asked(sock) == WHOLE
                times.append(trio.current_time() - began)
                if len(times) >= 12 and max(times) - min(times) > 0.01:
                    break
        assert max(times) - min(times) > 0.01


@pytest.mark.parametrize(
    ("behaviour", "name"),
    [
        ("out:duplicate=100%", "TCPDSACKOldSent"),
        ("out:delay=5ms,out:reorder=40%", "TCPOFOQueue"),
        ("out:delay=1ms,out:corrupt=30%", "InCsumErrors"),
    ],
)
async def test_a_rough_path_costs_packets_and_no_octets(
    ns: Namespace, host: Host, client: Client, behaviour: str, name: str
) -> None:
    async with served(host, client, behaviour):
        for _ in range(20):
            assert await client.meet() == WHOLE
            if await counter(ns, name):
                break
        assert await counter(ns, name) > 0


async def test_rate_is_shared_by_the_connections_of_the_port(host: Host, client: Client) -> None:
    async with served(host, client, "out:rate=2mbit"):
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(client.meet)
        assert trio.current_time() - began >= 2 * len(ANSWER) * 8 / 2e6


async def test_flapping_loses_all_while_it_is_down(host: Host, client: Client) -> None:
    async with served(host, client, "flapping=0s/1s"):
        assert await client.connect_errno(within=SHORT) is None
    async with served(host, client, "flapping=1s/0s"):
        assert await client.meet() == WHOLE


@pytest.mark.both_families
async def test_small_mtu_is_told_by_icmp_and_the_kernel_sends_smaller_packets(
    host: Host, client: Client, ends: Ends
) -> None:
    async with served(host, client, "small-mtu=1300"):
        with await client.connected() as sock:
            with trio.fail_after(LIMIT):
                await sock.send(bytes(10_000))
            assert await asked(sock, b"\n") == WHOLE
            assert tcp_info(sock, "I", 60) == 1300  # tcpi_pmtu
            assert acknowledged(sock) == 10_001


async def test_pmtu_blackhole_lets_small_packets_pass(host: Host, client: Client) -> None:
    async with served(host, client, "in:pmtu-blackhole=1000"):
        with await client.connected() as sock:
            assert await asked(sock) == WHOLE
            await sock.send(bytes(10_000))
            assert await asked(sock, within=SHORT) == Met(b"", None)
            await acknowledges(sock, len(REQUEST))
            assert acknowledged(sock) == len(REQUEST)


# Segments


@pytest.mark.parametrize("octets", [0, 1448, 5000, 100_000])
async def test_zero_window_after_octets(host: Host, client: Client, octets: int) -> None:
    async with served(host, client, f"zero-window-after={octets}"), trio.open_nursery() as nursery:
        sock = await client.connected()
        nursery.start_soon(trio.SocketStream(sock).send_all, bytes(200_000))
        await acknowledges(sock, octets)  # The last come with a zero-window probe.
        await trio.sleep(SHORT)
        # Rounded up to the unit of the window scale, and at most one unit more.
        assert octets <= acknowledged(sock) < octets + 2 * 128
        nursery.cancel_scope.cancel()
        sock.close()


async def test_zero_window_opens_after_a_time(host: Host, client: Client) -> None:
    async with served(host, client, "zero-window-after=5000/200ms"):
        with await client.connected() as sock:
            began = trio.current_time()
            await sock.send(bytes(50_000))
            assert await asked(sock) == WHOLE
            assert trio.current_time() - began >= 0.15


async def test_stop_acknowledging_leaves_data_unacknowledged(host: Host, client: Client) -> None:
    async with served(host, client, f"stop-acknowledging={len(REQUEST)}", left=1):
        with await client.connected() as sock:
            assert await asked(sock) == WHOLE
            await sock.send(REQUEST)
            await trio.sleep(SHORT)
            assert acknowledged(sock) == len(REQUEST)


async def test_tiny_mss_is_kept_by_both(host: Host, client: Client) -> None:
    async with served(host, client, "tiny-mss=100"):
        with await client.connected() as sock:
            sizes = host.rules.call(lambda packet: packet, protocol="tcp", local_port=PORT)
            with sizes:
                assert await asked(sock, 500 * b"x" + b"\n") == WHOLE
            lengths = {len(packet.payload or b"") for packet in sizes.packets}
            assert max(lengths) == 88  # 12 octets are timestamps.


async def test_no_options_are_agreed_on(host: Host, client: Client) -> None:
    async with served(host, client, "no-options"):
        with await client.connected() as sock:
            assert tcp_info(sock, "B", 5) == 0  # tcpi_options: no timestamps, SACK, scaling
            assert await asked(sock) == WHOLE


@pytest.mark.parametrize("behaviour", ["overlap", "old-duplicate", "wrong-ack=data", "icmp-noise"])
async def test_a_sound_tcp_hides_it(
    ns: Namespace, host: Host, client: Client, behaviour: str
) -> None:
    before = await counter(ns, "InDestUnreachs")
    async with served(host, client, behaviour):
        rule = host.rules.call(lambda packet: packet, direction="out", local_port=PORT)
        with rule, await client.connected() as sock:
            for _ in range(3):
                assert await asked(sock) == WHOLE
            carrying = [packet for packet in rule.packets if packet.payload]
            total = sum(len(packet.payload or b"") for packet in carrying)
            more = behaviour in ("overlap", "old-duplicate")
            assert total > 3 * len(ANSWER) if more else total == 3 * len(ANSWER)
            if behaviour == "wrong-ack=data":
                empty = [packet.ack for packet in rule.packets if not packet.payload]
                assert len(empty) >= len(carrying)
    told = await counter(ns, "InDestUnreachs") > before
    assert told == (behaviour == "icmp-noise")


async def test_wrong_ack_of_a_syn_opens_no_connection(host: Host, client: Client) -> None:
    async with served(host, client, "wrong-ack"):
        resets = host.rules.call(
            lambda packet: packet, direction="in", flags="RST", local_port=PORT
        )
        with resets:
            assert await client.connect_errno(within=SHORT) is None
            assert resets.matched >= 1


async def test_a_blind_reset_draws_a_challenge_ack(
    ns: Namespace, host: Host, client: Client
) -> None:
    before = await counter(ns, "TCPChallengeACK")
    async with served(host, client, "blind-reset"):
        with await client.connected() as sock:
            for _ in range(3):
                assert await asked(sock) == WHOLE
        assert await counter(ns, "TCPChallengeACK") > before


async def test_damage_passes_the_checksum(ns: Namespace, host: Host, client: Client) -> None:
    async with served(host, client, "damage=100%"):
        with await client.connected() as sock:
            met = await asked(sock)
        assert len(met.octets) == len(ANSWER)
        wrong = sum(one != other for one, other in zip(met.octets, ANSWER, strict=True))
        assert 0 < wrong <= len(ANSWER) // 100
        assert await counter(ns, "InCsumErrors") == 0


async def test_urgent_octets_are_missing_in_the_stream(host: Host, client: Client) -> None:
    async with served(host, client, "urgent"):
        with await client.connected() as sock:
            met = await asked(sock, within=SHORT)
        assert len(met.octets) < len(ANSWER)
        rest = iter(ANSWER)
        assert all(octet in rest for octet in met.octets)


async def test_keep_alives_have_no_answer_though_data_have(host: Host, client: Client) -> None:
    async with served(host, client, "keep-alive-deaf"):
        with await client.connected() as sock:
            for option, value in ((TCP_KEEPIDLE, 1), (TCP_KEEPINTVL, 1), (TCP_KEEPCNT, 1)):
                sock.setsockopt(IPPROTO_TCP, option, value)
            assert await asked(sock) == WHOLE
            sock.setsockopt(SOL_SOCKET, SO_KEEPALIVE, 1)
            assert await asked(sock, b"") == Met(b"", errno.ETIMEDOUT)


# Which connections


async def test_first_is_for_the_first_connections_only(host: Host, client: Client) -> None:
    async with served(host, client, "refuse,first=2"):
        assert [await client.connect_errno() for _ in range(2)] == [errno.ECONNREFUSED] * 2
        assert await client.meet() == WHOLE
    async with served(host, client, "reset-after=100,first=1"):
        assert await client.meet() == Met(ANSWER[:100], errno.ECONNRESET)
        assert await client.meet() == WHOLE


async def test_each_connection_counts_even_from_the_same_port(
    ns: Namespace, host: Host, client: Client, ends: Ends
) -> None:
    async with served(host, client, "reset-on-accept,first=1"):
        met: list[Met] = []
        for _ in range(2):
            with client.socket() as sock:
                sock.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
                await sock.bind((ends.kernel, 4711))
                await sock.connect((ends.ours, PORT))
                met.append(await asked(sock, b"" if not met else REQUEST))
        assert met == [Met(b"", errno.ECONNRESET), WHOLE]


async def test_every_is_for_every_nth_connection(host: Host, client: Client) -> None:
    async with served(host, client, "reset-on-accept,every=3"):
        ends = [(await client.meet(request=REQUEST)).end for _ in range(6)]
        assert [end is not None for end in ends] == [False, False, True] * 2


async def test_share_is_by_the_hosts_seed(ns: Namespace, client: Client, ends: Ends) -> None:
    seen = []
    for _ in range(2):
        async with (
            ns.open_host(ends.address, seed=7) as host,
            served(host, client, "refuse,share=50%"),
        ):
            seen.append([await client.connect_errno() for _ in range(12)])
    assert seen[0] == seen[1]
    assert {*seen[0]} == {0, errno.ECONNREFUSED}


# UDP


@asynccontextmanager
async def echoing(host: Host, behaviour: str) -> AsyncIterator[None]:
    async def echo(sock: trio.socket.SocketType) -> None:
        while True:
            data, source = await sock.recvfrom(2048)
            await sock.sendto(data, source)

    async with trio.open_nursery() as nursery:
        serve = partial(host.serve_udp, echo, PORT, behaviour=behaviour)
        await nursery.start(serve)
        await nursery.start(host.serve_udp, echo, WELL)
        yield
        nursery.cancel_scope.cancel()


async def echoed(
    ns: Namespace, ends: Ends, expected: int | list[bytes], port: int = PORT
) -> int | list[bytes]:
    """The datagrams that come back, or the errno; after what is expected there is a short wait."""
    with ns.socket(ends.family, trio.socket.SOCK_DGRAM) as sock:
        await sock.connect((ends.ours, port))
        got: list[bytes] = []
        try:
            await sock.send(b"0")
            while True:
                whole = isinstance(expected, list) and len(got) >= len(expected)
                with trio.move_on_after(SHORT if whole else LIMIT) as scope:
                    got.append(await sock.recv(2048))
                if scope.cancelled_caught:
                    return got
        except OSError as error:
            return error.errno or 0


@pytest.mark.both_families
@pytest.mark.parametrize(
    ("behaviour", "expected"),
    [
        ("silent", []),
        ("refuse", errno.ECONNREFUSED),
        ("unreachable", []),  # Linux tells a socket of it only with IP_RECVERR.
        ("unreachable=port", errno.ECONNREFUSED),
        ("in:loss=100%", []),
        ("in:duplicate=100%", [b"0", b"0"]),
        ("delay=10ms", [b"0"]),
        ("fail-first=1", errno.ECONNREFUSED),
    ],
)
async def test_what_udp_meets(
    ns: Namespace, host: Host, ends: Ends, behaviour: str, expected: int | list[bytes]
) -> None:
    async with echoing(host, behaviour):
        assert await echoed(ns, ends, expected) == expected
        assert await echoed(ns, ends, [b"0"], WELL) == [b"0"]
        if behaviour == "fail-first=1":
            assert await echoed(ns, ends, [b"0"]) == [b"0"]
    assert len(host.rules) == 0


# Places


async def test_only_the_address_that_is_served_misbehaves(ns: Namespace) -> None:
    async with ns.open_host("198.51.100.0/29") as host, trio.open_nursery() as nursery:
        for address, behaviour in (("198.51.100.3", "refuse"), ("198.51.100.4", None)):
            serve = partial(host.serve_tcp, answering, PORT, host=address, behaviour=behaviour)
            await nursery.start(serve)
        for address, expected in (("198.51.100.3", errno.ECONNREFUSED), ("198.51.100.4", 0)):
            with ns.socket() as sock:
                try:
                    await sock.connect((address, PORT))
                    met = 0
                except OSError as error:
                    met = error.errno or 0
            assert met == expected
        nursery.cancel_scope.cancel()


async def test_a_programs_verdict_is_asked_about_syns_that_pass(host: Host, client: Client) -> None:
    asked_about = []

    async def refuse_all(syn: Packet) -> SynVerdict:
        asked_about.append(syn)
        return "refuse"

    async with trio.open_nursery() as nursery:
        serve = partial(host.serve_tcp, answering, PORT, on_syn=refuse_all)
        await nursery.start(partial(serve, behaviour="slow-accept=50ms,drop-syn=1,every=2"))
        assert await client.connect_errno() == errno.ECONNREFUSED
        assert len(asked_about) == 1
        assert await client.connect_errno(within=SHORT) is None
        assert len(asked_about) == 1
        nursery.cancel_scope.cancel()


async def test_a_handler_sees_a_stream_of_its_kind(host: Host, client: Client) -> None:
    seen = []

    async def looking(stream: TcpStream) -> None:
        seen.append((isinstance(stream, TcpStream), isinstance(stream, trio.SocketStream)))
        stream.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
        stream.abort()

    async with trio.open_nursery() as nursery:
        behaviour = "slow-answer=1ms,reset-after=100000,trickle=1/1ms"
        await nursery.start(partial(host.serve_tcp, looking, PORT, behaviour=behaviour))
        assert await client.meet(request=b"") == Met(b"", errno.ECONNRESET)
        nursery.cancel_scope.cancel()
    assert seen == [(True, True)]


async def test_a_handler_that_raises_beside_a_timer_is_reported_as_it_raised(
    host: Host, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    async def failing(_stream: TcpStream) -> None:
        raise KeyError("its own fault")

    async with trio.open_nursery() as nursery:
        behaviour = "reset-after=1s"
        await nursery.start(partial(host.serve_tcp, failing, PORT, behaviour=behaviour))
        assert await client.meet(request=b"") == Met(b"", errno.ECONNRESET)
        nursery.cancel_scope.cancel()
    (record,) = caplog.records
    assert record.exc_info is not None
    assert record.exc_info[0] is KeyError


async def test_a_mistake_leaves_nothing_behind(host: Host, client: Client) -> None:
    for behaviour in ("rset-after", "silent,refuse"):
        with pytest.raises(ValueError, match=r"rset-after|contradict"):
            await host.serve_tcp(answering, PORT, behaviour=behaviour)
    with pytest.raises(ValueError, match="reset-after is of TCP"):
        await host.serve_udp(trio.sleep_forever, PORT, behaviour="reset-after")  # type: ignore[arg-type]
    assert len(host.rules) == 0
    async with served(host, client, "delay=1ms"):
        assert await client.meet() == WHOLE
