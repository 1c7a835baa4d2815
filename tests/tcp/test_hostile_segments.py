"""Segments of both families that are mangled, behind extension headers, or of no protocol of ours.

And a megabyte each way in the simulator.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Final

import pytest

from tests.families import each_family
from tests.tcp.crowd import OURS6, Crowd, state
from tunstack.ip.address import packed
from tunstack.ip.datagram import TCP, Datagram
from tunstack.ip.family import IPV6
from tunstack.simulator import Simulator
from tunstack.tcp.connection.state import State
from tunstack.tcp.segment import ACK, PSH, RST, SYN
from tunstack.wire import (
    NOTHING_OFFLOADED,
    Discard,
    Reason,
    completed,
    decode_datagram,
    decode_segment,
    encode_datagram,
)

if TYPE_CHECKING:
    from tunstack.ip.family import Family
    from tunstack.stack.observation import Observation

PEER6: Final = packed("2001:db8::1")


def mangled(packet: bytes, rng: Random) -> bytes:
    """The packet with one to three octets changed, cut short or longer."""
    wrong = bytearray(packet)
    for _ in range(rng.randrange(1, 4)):
        wrong[rng.randrange(len(wrong))] ^= 1 << rng.randrange(8)
    if rng.random() < 0.3:
        del wrong[rng.randrange(len(wrong)) :]
    elif rng.random() < 0.1:
        wrong += rng.randbytes(rng.randrange(1, 100))
    return bytes(wrong)


@each_family
@pytest.mark.parametrize("offload", [False, True])
def test_mangled_segments_harm_no_connection(family: Family, offload: bool) -> None:
    """Each is dropped and counted, and both connections go on."""
    rng = Random(6)
    crowd = Crowd(family=family, offload=offload)
    peer, flow = crowd.connected()
    victim, other = crowd.connected()
    good = [
        completed(NOTHING_OFFLOADED + peer.packet(peer.next(flags, payload))[10 * offload :])
        for flags, payload in ((ACK, b""), (ACK | PSH, b"data" * 100), (SYN, b""), (RST, b""))
    ]
    count = 0
    for _ in range(2000):
        bad = mangled(rng.choice(good), rng)
        if bad not in good and not verifies(bad):
            count += 1
            crowd.packet(NOTHING_OFFLOADED + bad if offload else bad)
    assert state(flow) is State.ESTABLISHED
    victim.send(b"still there")
    assert crowd.stack.read(other, 100) == b"still there"
    assert sum(crowd.stack.counters[reason] for reason in Reason) == count > 1000


def verifies(packet: bytes) -> bool:
    """Whether the change was in what no checksum covers: then it may do what it says."""
    try:
        decode_segment(decode_datagram(packet))
    except Discard:
        return False
    return True


@pytest.mark.parametrize("protocol", [0x59, 0xFF])
def test_a_protocol_that_is_not_spoken_is_counted(protocol: int) -> None:
    crowd = Crowd(family=IPV6)
    packet = b"".join(encode_datagram(Datagram(PEER6, OURS6, protocol, bytes(20))))
    crowd.packet(packet)
    assert crowd.statistics["unknown_protocol"] == 1


def test_a_segment_behind_extension_headers_is_a_segment() -> None:
    """Destination options with nothing but padding."""
    crowd = Crowd(family=IPV6)
    peer, flow = crowd.connected()
    packet = peer.packet(peer.next(ACK | PSH, b"behind options"))
    length = int.from_bytes(packet[4:6], "big") + 8
    options = bytes((TCP, 0, 1, 4, 0, 0, 0, 0))
    crowd.packet(
        packet[:4] + length.to_bytes(2, "big") + b"\x3c" + packet[7:40] + options + packet[40:]
    )
    assert crowd.stack.read(flow, 100) == b"behind options"


@each_family
@pytest.mark.parametrize("offload", [False, True])
def test_a_megabyte_each_way_in_the_simulator(family: Family, offload: bool) -> None:
    observed: list[Observation] = []

    def tap(side: str, observation: Observation) -> None:
        observed.append(observation)

    simulator = Simulator(seed=1, offload=offload, family=family, tap=tap)
    client, server = simulator.connect()
    for end in (client, server):
        end.send(bytes(1 << 20))
        end.shutdown()
    simulator.run(lambda: client.done and server.done)
    assert client.received == server.received == bytes(1 << 20)
    assert {each.packet[0] >> 4 for each in observed} == {family.version}
    [*verdicts] = {each.verdict for each in observed if each.verdict.startswith("dropped")}
    assert verdicts == []
