"""Captures and traces as rows: which packet has which values, and which connection it is of."""

from __future__ import annotations

import io
import json
import os
import struct
from dataclasses import fields, replace
from typing import TYPE_CHECKING

import pytest

from tests.capture.segments import Talk
from tests.ladder.exchange import START, Exchange, packet_of, ping, udp
from tests.wire.packets import ipv4_packet, tcp_bytes
from tunstack import Capture, ConnectionRow, PacketRow, read_capture
from tunstack.path.pcapng import PcapngWriter
from tunstack.stack.observation import Windows
from tunstack.tcp.segment import ACK, PSH, RST, SYN, Segment

if TYPE_CHECKING:
    from pathlib import Path


def write(path: Path, exchange: Exchange, *, comments: bool = True) -> Path:
    """A pcapng of an exchange; without comments and directions as another program writes it."""
    with PcapngWriter(path) as writer:
        for seen in exchange.observations:
            if comments:
                writer.write(seen.packet, seen.time, seen.comment, seen.direction == "out")
            else:
                writer.write(seen.packet, seen.time)
    return path


def write_pcap(path: Path, exchange: Exchange) -> Path:
    """A pcap of Ethernet frames."""
    blocks = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)]
    for seen in exchange.observations:
        ethertype = b"\x86\xdd" if seen.packet[0] >> 4 == 6 else b"\x08\x00"
        frame = bytes(12) + ethertype + seen.packet
        seconds, fraction = divmod(round(seen.time * 1e6), 10**6)
        blocks.append(struct.pack("<4I", seconds, fraction, len(frame), len(frame)) + frame)
    arp = bytes(12) + b"\x08\x06" + bytes(28)
    blocks.append(struct.pack("<4I", 0, 0, len(arp), len(arp)) + arp)
    path.write_bytes(b"".join(blocks))
    return path


def exchange(family: str = "IPv4", segments: int = 3) -> Exchange:
    made = Exchange(family=family)
    made.handshake()
    made.fetch(segments=segments)
    return made


@pytest.mark.parametrize(
    ("family", "client", "server", "headers"),
    [
        ("IPv4", "198.51.100.1", "198.51.100.2", 20),
        ("IPv6", "2001:db8::1", "2001:db8::2", 40),
    ],
)
def test_our_captures_have_all_columns(
    tmp_path: Path, family: str, client: str, server: str, headers: int
) -> None:
    made = exchange(family)
    made.observations[-1] = replace(made.observations[-1], windows=Windows(14480, None, 1448))
    capture = read_capture(write(tmp_path / "x.pcapng", made))
    assert capture.start == pytest.approx(START, abs=1e-6)
    first, second, _, request, answer = capture.packets[:5]
    assert first == PacketRow(
        number=1,
        time=0.0,
        connection=1,
        direction="in",
        source=client,
        source_port=40312,
        destination=server,
        destination_port=80,
        size=headers + 40,
        flags="SYN",
        seq=0,
        window=64240,
        mss=1460,
        window_scale=7,
        sack_permitted=True,
        timestamp=1,
        timestamp_echo=0,
        state_before="LISTEN",
        state="SYN-RECEIVED",
        verdict="accepted",
    )
    assert (second.flags, second.seq, second.ack, second.direction) == ("SYN,ACK", 0, 1, "out")
    assert (request.seq, request.length, request.window) == (1, 78, 502 << 7)
    assert (answer.seq, answer.ack, answer.window) == (1, 79, 502 << 5)
    assert answer.time == pytest.approx(0.004, abs=1e-6)
    last = capture.packets[-1]
    assert (last.cwnd, last.ssthresh, last.smss) == (14480, None, 1448)
    (row,) = capture.connections
    assert row == ConnectionRow(
        number=1,
        client=client,
        client_port=40312,
        server=server,
        server_port=80,
        ours="server",
        start=0.0,
        end=row.end,
        packets_to_server=6,
        packets_to_client=4,
        octets_to_server=78,
        octets_to_client=300,
        state="ESTABLISHED",
    )
    assert [*row.packets] == [*capture.packets]


@pytest.mark.parametrize("family", ["IPv4", "IPv6"])
def test_captures_of_others_have_what_is_on_the_wire(tmp_path: Path, family: str) -> None:
    made = exchange(family)
    theirs = [
        read_capture(write_pcap(tmp_path / "x.pcap", made)),
        read_capture(write(tmp_path / "y.pcapng", made, comments=False)),
    ]
    ours = read_capture(write(tmp_path / "z.pcapng", made))
    for capture in theirs:
        (row,) = capture.connections
        assert (row.ours, row.state, row.octets_to_client) == (None, None, 300)
        for packet, known in zip(capture.packets, ours.packets, strict=True):
            assert (packet.direction, packet.state, packet.verdict) == (None, None, "")
            assert (packet.seq, packet.ack, packet.window) == (known.seq, known.ack, known.window)
    assert theirs[0].skipped == {"ARP": 1}


def test_a_live_trace_has_the_same_rows_as_its_capture(tmp_path: Path) -> None:
    made = exchange()
    trace = Capture.from_observations(made.observations)
    capture = read_capture(write(tmp_path / "x.pcapng", made))
    rounded = [
        [replace(row, time=round(row.time, 5)) for row in each.packets] for each in (trace, capture)
    ]
    assert rounded[0] == rounded[1]
    assert repr(trace) == "<Capture of 10 packets, 1 connections>"


def test_rows_become_dicts_of_plain_values() -> None:
    capture = Capture.from_observations(exchange().observations)
    packets, connections = capture.packets.to_dicts(), capture.connections.to_dicts()
    assert [*packets[0]] == [each.name for each in fields(PacketRow)]
    assert {*connections[0]} == {each.name for each in fields(ConnectionRow)} - {"packets"}
    json.dumps([packets, connections])
    assert (packets[3]["length"], connections[0]["octets_to_client"]) == (78, 300)
    assert len(capture.packets[2:4]) == 2


def test_connections_flows_and_pings_are_numbered_as_in_the_ladder() -> None:
    made = exchange()
    made.add("in", packet_of(udp()))
    made.add("in", ping(reply=False))
    made.add("out", ping(reply=True))
    second = exchange()
    second.isn["in"] += 100_000
    again = Exchange(kernel_isn=77)
    again.handshake()
    capture = Capture.from_observations([*made.observations, *again.observations])
    assert [row.number for row in capture.connections] == [1, 4]
    datagram, echo = capture.packets[10:12]
    assert (datagram.connection, datagram.protocol, datagram.source_port) == (2, "UDP", 4000)
    assert (datagram.length, datagram.flags, datagram.info) == (4, None, "UDP len 4")
    assert (echo.connection, echo.protocol, echo.source_port) == (3, "ICMP", None)
    assert capture.connection().number == 1
    assert capture.connection(4).octets == 0
    for number, says in (
        (2, "number 2 in the trace is UDP, not TCP"),
        (3, "number 3 in the trace is a ping, not TCP"),
        (5, "the trace has 2 TCP connections, and none is number 5"),
    ):
        with pytest.raises(ValueError, match=says):
            capture.connection(number)
    with pytest.raises(ValueError, match="the trace has no TCP connection"):
        Capture.from_observations([]).connection()


def test_a_fragment_is_a_row_and_not_of_the_connection() -> None:
    made = exchange()
    made.add("in", ipv4_packet(tcp_bytes(payload=bytes(12)), flags=0x2000))
    capture = Capture.from_observations(made.observations)
    fragment = capture.packets[-1]
    assert (fragment.fragment, fragment.protocol, fragment.seq) == (True, "TCP", None)
    assert len(capture.connections) == 1


def test_what_cannot_be_decoded_is_a_row_with_the_reason() -> None:
    made = Exchange()
    made.add("in", b"\x45\x00\x00", verdict="dropped")
    (row,) = Capture.from_observations(made.observations).packets
    assert (row.connection, row.size, row.verdict) == (None, 3, "dropped")
    assert row.info.startswith("3 bytes: ")


def test_damage_raises_or_is_told_with_what_comes_before_it(tmp_path: Path) -> None:
    path = write(tmp_path / "x.pcapng", exchange())
    os.truncate(path, path.stat().st_size - 7)
    with pytest.raises(ValueError, match=r"x\.pcapng: truncated capture"):
        read_capture(path)
    capture = read_capture(path, strict=False)
    assert len(capture.packets) == 9
    assert capture.damage == f"{path}: truncated capture"
    with pytest.raises(ValueError, match="standard input is no capture"):
        read_capture(io.BytesIO(b"none"), title="standard input", strict=False)
    with pytest.raises(FileNotFoundError):
        read_capture(tmp_path / "nothing")


class TestNumbers:
    """Relative numbers of TCP."""

    @pytest.mark.parametrize("origin", [0, 2**32 - 100])
    def test_they_do_not_wrap_and_tell_what_is_sent_again(self, origin: int) -> None:
        talk = Talk()
        talk.sent(0.0, Segment(origin, flags=SYN))
        talk.answered(0.1, Segment(5, (origin + 1) % 2**32, SYN | ACK))
        for start in (1, 1001, 1, 501, 2001):
            seq = (origin + start) % 2**32
            talk.sent(0.2, Segment(seq, 6, PSH | ACK, payload=bytes(1000)))
        sacked = ((origin + 1001) % 2**32, (origin + 2001) % 2**32)
        talk.answered(0.3, Segment(6, (origin + 1) % 2**32, ACK, sack=(sacked,)))
        packets = talk.connection.packets
        sent = [(each.seq, each.retransmission) for each in packets[2:7]]
        assert sent == [(1, False), (1001, False), (1, True), (501, True), (2001, False)]
        assert packets[7].sack == ((1001, 2001),)
        assert talk.connection.retransmissions_to_server == 2

    def test_a_reset_of_what_was_not_seen_is_no_origin(self) -> None:
        talk = Talk()
        talk.sent(0.0, Segment(1000, flags=SYN))
        talk.answered(0.1, Segment(0, 1001, RST | ACK))
        refused = talk.connection.packets[1]
        assert (refused.seq, refused.ack, refused.flags) == (0, 1, "RST,ACK")

    def test_without_the_handshake_the_lower_port_is_the_server(self) -> None:
        for server_first in (False, True):
            talk = Talk()
            if server_first:
                talk.answered(0.0, Segment(5000, 100, ACK, payload=b"x"))
            talk.sent(0.1, Segment(100, 5001, ACK))
            row = talk.connection
            assert (row.client_port, row.server_port, row.ours) == (40000, 80, "client")
            assert row.packets[0].seq == 1

    def test_a_syn_ack_first_is_the_server(self) -> None:
        talk = Talk()
        talk.answered(0.0, Segment(5000, 100, SYN | ACK))
        assert talk.connection.server_port == 80
