"""What behaviours remember of connections: by packets, anew with each SYN, and not for ever."""

from __future__ import annotations

from itertools import count

from tunstack import Packet
from tunstack.behaviours.port import PerConnection


def segment(port: int, flags: str = "ACK", seq: int = 1, *, out: bool = False) -> Packet:
    client, host = ("198.51.100.1", port), ("198.51.100.2", 80)
    source, destination = (host, client) if out else (client, host)
    return Packet.tcp(
        source=source[0],
        source_port=source[1],
        destination=destination[0],
        destination_port=destination[1],
        flags=flags,
        seq=seq,
        direction="out" if out else "in",
    )


def numbered() -> PerConnection[int]:
    numbers = count()
    return PerConnection(lambda: next(numbers))


def test_both_directions_of_a_connection_have_one_value() -> None:
    values = numbered()
    assert [values.of(segment(7, "SYN")), values.of(segment(7)), values.of(segment(8, "SYN"))] == [
        0,
        0,
        1,
    ]
    assert values.of(segment(7, out=True)) == 0
    assert values.of(segment(7, "SYN,ACK", 99, out=True)) == 0


def test_a_retransmitted_syn_is_of_the_same_connection_and_another_is_not() -> None:
    values = numbered()
    assert values.of(segment(7, "SYN", 100)) == 0
    assert values.of(segment(7, "SYN", 100)) == 0
    assert values.of(segment(7, "SYN", 200)) == 1
    assert values.of(segment(7)) == 1


def test_the_oldest_connections_are_forgotten() -> None:
    values = numbered()
    for port in range(1, 10_002):
        values.of(segment(port, "SYN"))
    assert values.of(segment(10_001)) == 10_000
    assert values.of(segment(2)) == 1
    assert values.of(segment(1)) == 10_001
