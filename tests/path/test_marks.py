"""Paths that mark: transfers between two stacks, under a virtual clock."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import pytest

from tests.path.middlebox import Marker, codepoint, marked
from tests.path.simulated import transfer
from tunstack.ip.family import FAMILIES, Family
from tunstack.path.impair import Impairments
from tunstack.simulator import Simulator
from tunstack.tcp.config import Config
from tunstack.tcp.congestion import Cubic, Reno
from tunstack.tcp.connection.ecn import ACCEPT, CE, NOT_ECT, OFF, REQUEST
from tunstack.tcp.segment import ACK, Segment
from tunstack.wire import decode_datagram, decode_segment, encode_segment

if TYPE_CHECKING:
    from tunstack.tcp.congestion import CongestionFactory

DATA: Final = bytes(range(251)) * 4000
ASKS: Final = Config(ecn=REQUEST)
PATH: Final = Impairments(delay=0.01)

each_family = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)


@pytest.mark.rfc("3168:6.1", "8504:5.12-1")
@pytest.mark.parametrize("down", [True, False])
@each_family
def test_a_marked_transfer_loses_nothing_and_sends_nothing_twice(
    down: bool, family: Family
) -> None:
    """Whoever asked; each way. The window comes down all the same."""
    box = Marker(100)
    simulator = Simulator(
        seed=1, impairments=PATH, middlebox=box, config=(ASKS, Config()), family=family
    )
    client, server = transfer(simulator, **{"down" if down else "up": DATA})
    sender = (server if down else client).flow
    assert sender is not None
    assert sender.info().ecn
    assert sender.info().retransmits == 0
    assert box.marks >= 5
    assert sender.info().snd_ssthresh < 200_000
    receiver = (simulator.client if down else simulator.server).stack
    assert receiver.statistics()["congestion_marks"] == box.marks


@pytest.mark.rfc("3168:6.1.1")
@pytest.mark.parametrize(
    ("client", "server", "agreed"),
    [
        (REQUEST, REQUEST, True),
        (REQUEST, ACCEPT, True),
        (REQUEST, OFF, False),
        (ACCEPT, REQUEST, False),
        (ACCEPT, ACCEPT, False),
        (OFF, REQUEST, False),
    ],
)
def test_who_agrees(client: int, server: int, agreed: bool) -> None:
    box = Marker(10)
    simulator = Simulator(
        seed=1, middlebox=box, config=(Config(ecn=client), Config(ecn=server)), impairments=PATH
    )
    transfer(simulator, down=bytes(100_000), up=bytes(100_000))
    assert (box.ect > 0) is agreed


@pytest.mark.rfc("3168:6.1.5")
@pytest.mark.parametrize("seed", range(4))
@each_family
def test_marks_beside_losses(seed: int, family: Family) -> None:
    """Nothing that is sent again may be marked; all arrives."""
    seen: set[tuple[int, int]] = set()
    box = Marker(30)

    def watch(packet: bytes) -> tuple[bytes | None, bytes | None]:
        _, port, segment = decode_segment(decode_datagram(packet))
        if len(segment.payload):
            name = (port, segment.seq)
            assert name not in seen or codepoint(packet) == NOT_ECT
            seen.add(name)
        return box(packet)

    simulator = Simulator(
        seed=seed,
        impairments=replace(PATH, loss=0.02, reorder=0.02, jitter=0.002),
        middlebox=watch,
        config=ASKS,
        family=family,
    )
    transfer(simulator, down=DATA, up=DATA)
    assert box.marks > 10


@pytest.mark.rfc("8511:3")
@pytest.mark.parametrize("congestion", [Cubic, Reno])
def test_every_packet_marked_leaves_two_segments(congestion: CongestionFactory) -> None:
    """The least there is: a window of data at a time is reduced, but never to a standstill."""
    config = replace(ASKS, congestion=congestion)
    simulator = Simulator(seed=1, impairments=PATH, middlebox=Marker(1), config=config)
    _, server = transfer(simulator, down=bytes(200_000))
    assert server.flow is not None
    info = server.flow.info()
    assert info.snd_cwnd < 4 * info.snd_mss
    assert info.retransmits == 0


@pytest.mark.rfc("3168:6.1.1.1")
def test_a_path_that_drops_ecn_setup_syns_is_used_without_ecn() -> None:
    def middlebox(packet: bytes) -> tuple[bytes | None, bytes | None]:
        _, _, segment = decode_segment(decode_datagram(packet))
        return (None if segment.flags & 0xC0 else packet), None

    simulator = Simulator(seed=1, impairments=PATH, middlebox=middlebox, config=ASKS)
    client, _ = transfer(simulator, down=bytes(100_000))
    assert client.flow is not None
    assert not client.flow.info().ecn


@pytest.mark.rfc("3168:5")
@pytest.mark.parametrize("tos", [0, 0x48])
@each_family
def test_the_codepoint_stands_in_the_header(tos: int, family: Family) -> None:
    """Beside the DSCP, on the way out and on the way in."""
    segment = Segment(7, flags=ACK, ecn=2)
    address = bytes(family.address_size)
    packet = b"".join(encode_segment(address, address, 1, 2, segment, tos=tos))
    assert decode_datagram(packet).tos == tos | 2
    assert codepoint(packet) == 2
    assert decode_segment(decode_datagram(packet))[2].ecn == 2
    assert decode_segment(decode_datagram(marked(packet)))[2].ecn == CE
    assert decode_datagram(marked(packet)).tos == tos | CE
