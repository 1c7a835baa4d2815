"""Verdicts on SYNs: an async function decides, while the handshake waits."""

from __future__ import annotations

import errno
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.socket.network import OURS, PORT, THEIRS, fails, host_pair
from tunstack import Host, Packet, SynVerdict, TcpStream, memory_pair

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

    from tunstack.link.base import Link

    Decide = Callable[[Packet], Awaitable[SynVerdict]]


class Doorman:
    """Gives the same verdict, when it is told to; by default at once."""

    def __init__(self, verdict: SynVerdict = "accept", *, waits: bool = False) -> None:
        self.asked: list[Packet] = []
        self._verdict = verdict
        self._decided = trio.Event()
        if not waits:
            self._decided.set()

    async def __call__(self, syn: Packet) -> SynVerdict:
        self.asked.append(syn)
        await self._decided.wait()
        return self._verdict

    def decide(self) -> None:
        self._decided.set()


@asynccontextmanager
async def serving(**parameters: object) -> AsyncIterator[tuple[Host, Host]]:
    """Two hosts, of which the first listens; both, and a nursery for tests."""
    async with host_pair(**parameters) as (ours, theirs):  # type: ignore[arg-type]
        await ours.open_tcp_listeners(PORT)
        yield ours, theirs


def syn(port: int = 5000, seq: int = 1, **fields: object) -> Packet:
    """A SYN to the host."""
    return Packet.tcp(
        **{
            "source": THEIRS,
            "destination": OURS,
            "source_port": port,
            "destination_port": PORT,
            "flags": "SYN",
            "seq": seq,
            **fields,
        }  # type: ignore[arg-type]
    )


@asynccontextmanager
async def host_and_link() -> AsyncIterator[tuple[Host, Link]]:
    """A host that listens, and the far end of its link."""
    link, far = memory_pair()
    async with Host(link, [f"{OURS}/24"], seed=1) as host:
        await host.open_tcp_listeners(PORT)
        yield host, far


async def send_syns(far: Link, ports: Iterable[int]) -> None:
    """Send a SYN from each port, as many at a time as the link takes."""
    for port in ports:
        far.send([syn(port).data])
        if not port % 500:
            await trio.sleep(0.01)
    await trio.sleep(0.1)


async def answers(far: Link) -> list[Packet]:
    """What the host has sent, a moment later."""
    await trio.sleep(0.01)
    return [Packet(bytes(each), "out") for each in far.receive(10_000)]


# What becomes of a SYN


async def test_an_accepted_syn_opens_a_connection() -> None:
    async with serving() as (ours, theirs):
        doorman = Doorman()
        rule = ours.on_syn(doorman)
        stream = await theirs.open_tcp_stream(OURS, PORT)
        assert stream.socket.tcp_info().state == "ESTABLISHED"
        (asked,) = doorman.asked
        assert (asked.flags, asked.direction) == ("SYN", "in")
        assert asked.source_port == stream.socket.getsockname()[1]
        assert rule.matched == 1


@pytest.mark.parametrize(
    ("verdict", "error"),
    [
        ("refuse", errno.ECONNREFUSED),
        ("port-unreachable", errno.ECONNREFUSED),
        ("host-unreachable", errno.EHOSTUNREACH),
        ("network-unreachable", errno.ENETUNREACH),
        ("prohibited", errno.EHOSTUNREACH),
        ("drop", errno.ETIMEDOUT),
        ("hold", errno.ETIMEDOUT),
    ],
)
async def test_each_verdict_is_an_error_at_the_client(verdict: SynVerdict, error: int) -> None:
    async with serving() as (ours, theirs):
        ours.on_syn(Doorman(verdict))
        with fails(error):
            await theirs.open_tcp_stream(OURS, PORT)
        assert ours.connections() == []


async def test_the_next_syn_after_one_that_is_dropped_is_asked_about() -> None:
    async with serving() as (ours, theirs):
        verdicts: list[SynVerdict] = ["drop", "drop", "accept"]

        async def decide(_: Packet) -> SynVerdict:
            return verdicts.pop(0)

        ours.on_syn(decide)
        before = trio.current_time()
        await theirs.open_tcp_stream(OURS, PORT)
        assert trio.current_time() - before == pytest.approx(3, abs=0.01)
        assert verdicts == []


async def test_no_syn_of_an_attempt_that_is_held_is_answered_or_asked_about_again() -> None:
    async with serving() as (ours, theirs):
        doorman = Doorman("hold")
        rule = ours.on_syn(doorman)
        with fails(errno.ETIMEDOUT):
            await theirs.open_tcp_stream(OURS, PORT)
        assert len(doorman.asked) == 1
        assert rule.matched > 5
        assert ours.statistics()["packets_sent"] == 0


async def test_the_next_attempt_is_asked_about_anew() -> None:
    async with host_and_link() as (host, far):
        doorman = Doorman("hold")
        host.on_syn(doorman)
        for number in (1, 1, 2, 1, 2, 3):
            far.send([syn(seq=number).data])
        assert await answers(far) == []
        assert {asked.seq for asked in doorman.asked} == {1, 2, 3}
        assert len(doorman.asked) == 3


# While it waits


async def test_others_connect_while_one_waits() -> None:
    async with serving() as (ours, theirs), trio.open_nursery() as nursery:
        doorman = Doorman(waits=True)
        ours.on_syn(doorman, remote=THEIRS, port=PORT)
        await ours.open_tcp_listeners(PORT + 1)
        opened: list[TcpStream] = []

        async def connect() -> None:
            opened.append(await theirs.open_tcp_stream(OURS, PORT))

        nursery.start_soon(connect)
        await trio.sleep(0.5)
        async with await theirs.open_tcp_stream(OURS, PORT + 1):
            assert not opened
        doorman.decide()
        await trio.sleep(0.1)
        assert opened


async def test_syns_that_are_retransmitted_wait_for_the_same_verdict() -> None:
    """The latest of them is accepted: its timestamp is that of the client's round trip."""
    async with serving() as (ours, theirs), trio.open_nursery() as nursery:
        doorman = Doorman(waits=True)
        rule = ours.on_syn(doorman)
        opened: list[TcpStream] = []

        async def connect() -> None:
            opened.append(await theirs.open_tcp_stream(OURS, PORT))

        nursery.start_soon(connect)
        await trio.sleep(3.5)
        assert rule.matched == 3
        doorman.decide()
        await trio.sleep(0.1)
        assert len(doorman.asked) == 1
        rtt = opened[0].socket.tcp_info().rtt
        assert rtt is not None
        assert rtt < 0.6
        nursery.cancel_scope.cancel()


async def test_a_syn_whose_answer_is_lost_is_not_asked_about_again() -> None:
    async with serving() as (ours, theirs):
        doorman = Doorman()
        ours.on_syn(doorman)
        with ours.rules.drop(direction="out", flags="SYN,ACK", first=2):
            await theirs.open_tcp_stream(OURS, PORT)
        assert len(doorman.asked) == 1


async def test_a_host_ends_while_attempts_wait() -> None:
    async with host_and_link() as (host, far):
        host.on_syn(Doorman(waits=True))
        far.send([syn().data])
        await trio.sleep(0.1)


async def test_what_was_asked_is_answered_after_the_rule_is_removed() -> None:
    async with host_and_link() as (host, far):
        doorman = Doorman("refuse", waits=True)
        with host.on_syn(doorman):
            far.send([syn().data])
            await trio.sleep(0.1)
        far.send([syn(port=6000).data])
        (accepted,) = await answers(far)
        assert (accepted.destination_port, accepted.flags) == (6000, "SYN,ACK")
        doorman.decide()
        (refused,) = await answers(far)
        assert (refused.destination_port, refused.flags) == (5000, "RST,ACK")


# Which SYNs


async def test_only_syns_of_that_port_and_peer_are_asked_about() -> None:
    async with host_and_link() as (host, far):
        doorman = Doorman("refuse")
        host.on_syn(doorman, PORT, remote=f"{THEIRS}/32")
        for each in (syn(1), syn(2, destination_port=81), syn(3, source="198.51.100.9")):
            far.send([each.data])
        await trio.sleep(0.1)
        assert [asked.source_port for asked in doorman.asked] == [1]


async def test_what_is_no_syn_to_the_host_is_not_asked_about() -> None:
    async with host_and_link() as (host, far):
        doorman = Doorman("refuse")
        host.on_syn(doorman)
        for each in (
            syn(checksum=0xBAD),
            syn(destination="198.51.100.77"),
            syn(source="224.0.0.1"),
            syn(flags="SYN,FIN"),
            syn(flags="SYN,RST"),
            syn(flags="SYN,ACK", ack=1),
        ):
            far.send([each.data])
        (answer,) = await answers(far)
        assert answer.flags == "RST"
        assert doorman.asked == []
        counts = host.statistics()
        assert counts["bad_tcp_checksum"] == counts["not_our_address"] == 1


async def test_a_syn_within_a_connection_is_not_asked_about() -> None:
    """It draws a challenge ACK (RFC 5961 section 4.2)."""
    async with serving() as (ours, theirs):
        stream = await theirs.open_tcp_stream(OURS, PORT)
        doorman = Doorman("refuse")
        ours.on_syn(doorman)
        stream.send_segment(flags="SYN")
        await trio.sleep(0.1)
        assert doorman.asked == []
        assert ours.statistics()["tcp_challenged_syn"] == 1


# Of a server


async def test_a_server_asks_about_its_own_syns() -> None:
    async def handler(stream: TcpStream) -> None:
        await stream.send_all(b"hello")

    async with host_pair() as (ours, theirs), trio.open_nursery() as nursery:
        await ours.open_tcp_listeners(81)
        doorman = Doorman("refuse")

        async def serve(task_status: trio.TaskStatus[object]) -> None:
            await ours.serve_tcp(handler, PORT, on_syn=doorman, task_status=task_status)

        scope = await nursery.start(cancellable, serve)
        with fails(errno.ECONNREFUSED):
            await theirs.open_tcp_stream(OURS, PORT)
        async with await theirs.open_tcp_stream(OURS, 81):
            assert len(doorman.asked) == len(ours.rules) == 1
        scope.cancel()
        await trio.sleep(0.1)
        assert len(ours.rules) == 0
        nursery.cancel_scope.cancel()


async def cancellable(
    serve: Callable[..., Awaitable[object]], task_status: trio.TaskStatus[trio.CancelScope]
) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(serve)
        task_status.started(nursery.cancel_scope)


async def test_servers_on_two_addresses_ask_each_its_own() -> None:
    link, far = memory_pair()
    other = "198.51.100.3"
    async with (
        Host(link, [f"{OURS}/24", f"{other}/24"], seed=1) as host,
        trio.open_nursery() as nursery,
    ):
        doormen = [Doorman("refuse"), Doorman("prohibited")]
        for address, doorman in zip((OURS, other), doormen, strict=True):

            async def serve(
                task_status: trio.TaskStatus[object],
                address: str = address,
                doorman: Doorman = doorman,
            ) -> None:
                await host.serve_tcp(
                    TcpStream.aclose, PORT, host=address, on_syn=doorman, task_status=task_status
                )

            await nursery.start(serve)
        far.send([syn().data])
        far.send([syn(destination=other).data])
        came = {each.protocol: str(each.source) for each in await answers(far)}
        assert came == {"tcp": OURS, "icmp": other}
        assert [len(doorman.asked) for doorman in doormen] == [1, 1]
        nursery.cancel_scope.cancel()


# Bounds


async def test_so_many_attempts_wait_at_most_and_others_are_dropped_and_counted() -> None:
    async with host_and_link() as (host, far):
        doorman = Doorman("refuse", waits=True)
        host.on_syn(doorman)
        await send_syns(far, range(1000, 2025))
        assert len(doorman.asked) == 1024
        assert host.statistics()["syn_not_asked"] == 1
        doorman.decide()
        # The link takes 1,000 at a time.
        assert len([*await answers(far), *await answers(far)]) == 1024
        await send_syns(far, [3000])
        assert len(await answers(far)) == 1


async def test_the_oldest_attempts_that_are_held_are_forgotten() -> None:
    async with host_and_link() as (host, far):
        doorman = Doorman("hold")
        host.on_syn(doorman)
        await send_syns(far, range(1000, 1001))
        await send_syns(far, range(1001, 5097))
        await send_syns(far, [5096])
        assert len(doorman.asked) == 4097
        await send_syns(far, [1000])
        assert len(doorman.asked) == 4098


# What is wrong with a function


async def asked_until_it_ends(function: Any) -> None:
    """A host that asks about several SYNs at once, and does nothing else."""
    async with host_and_link() as (host, far):
        host.on_syn(function)
        await send_syns(far, [1, 2, 3])
        await trio.sleep_forever()


@pytest.mark.parametrize("raises", [RuntimeError("no idea"), KeyError("port")])
async def test_what_a_function_raises_ends_the_hosts_block(raises: Exception) -> None:
    async def decide(_: Packet) -> SynVerdict:
        await trio.sleep(1)
        raise raises

    with pytest.raises(type(raises)) as caught:
        await asked_until_it_ends(decide)
    assert caught.value is raises


@pytest.mark.parametrize("verdict", ["acept", None, True, ["drop"]])
async def test_what_is_no_verdict_ends_the_hosts_block_and_the_verdicts_are_named(
    verdict: object,
) -> None:
    async def decide(_: Packet) -> object:
        return verdict

    with pytest.raises(ValueError, match="no verdict on a SYN; there are accept, drop, hold, ref"):
        await asked_until_it_ends(decide)


async def test_a_function_that_is_not_async_ends_the_hosts_block() -> None:
    with pytest.raises(TypeError, match="await"):
        await asked_until_it_ends(lambda _: "accept")


async def test_what_is_no_function_is_refused_at_once() -> None:
    async with host_pair() as (ours, _):
        with pytest.raises(TypeError, match="async function of a packet, not 'drop'"):
            ours.on_syn("drop")  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="async function of a packet, not 'drop'"):
            await ours.serve_tcp(TcpStream.aclose, PORT, on_syn="drop")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="local_port"):
            ours.on_syn(Doorman(), 65536)
        assert len(ours.rules) == 0
        await ours.open_tcp_listeners(PORT)
