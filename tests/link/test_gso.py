"""A large segment is cut into the packets that a wire would carry."""

from __future__ import annotations

from struct import pack

import pytest

from tests.wire.packets import PAIRS, ipv6_packet, options_header
from tunstack.tcp.segment import ACK, CWR, FIN, PSH, Segment
from tunstack.wire import decode_datagram, decode_segment, encode_segment, gso
from tunstack.wire.virtio import NO_OFFLOAD

US, THEM = bytes((198, 51, 100, 2)), bytes((198, 51, 100, 1))
DATA = bytes(range(256)) * 20

each_family = pytest.mark.parametrize("family", PAIRS)


def large(segment: Segment, family: str) -> bytes:
    """The frame of a segment for a link with offload."""
    return b"".join(encode_segment(*PAIRS[family], 80, 40000, segment, offload=True))


def cut(segment: Segment, family: str) -> list[Segment]:
    frame = large(segment, family)
    return [decode_segment(decode_datagram(packet))[2] for packet in gso.packets(frame)]


@each_family
@pytest.mark.parametrize("size", [1, 1447, 1448, 1449, 2896, 5120])
def test_the_pieces_have_all_the_data_and_the_right_numbers(size: int, family: str) -> None:
    seq = 0xFFFFFF00  # They wrap.
    pieces = cut(Segment(seq, 5, ACK, 9, payload=DATA[:size], ts_val=7, gso_size=1448), family)
    assert b"".join(piece.payload for piece in pieces) == DATA[:size]
    assert [piece.seq for piece in pieces] == [(seq + at) % 2**32 for at in range(0, size, 1448)]
    assert {(piece.ack, piece.wnd, piece.ts_val) for piece in pieces} == {(5, 9, 7)}
    assert all(len(piece.payload) == 1448 for piece in pieces[:-1])


@each_family
def test_the_flags_of_an_end_are_the_last_ones_and_cwr_is_the_first_ones(family: str) -> None:
    flags = ACK | PSH | FIN | CWR
    pieces = cut(Segment(1, 5, flags, payload=DATA[:3000], ts_val=7, gso_size=1000), family)
    assert [piece.flags for piece in pieces] == [ACK | CWR, ACK, ACK | PSH | FIN]


@each_family
def test_a_single_segment_gets_its_checksum(family: str) -> None:
    (piece,) = cut(Segment(1, 5, ACK, payload=b"odd"), family)
    assert piece.payload == b"odd"


@each_family
def test_what_is_whole_is_left_alone(family: str) -> None:
    segment = Segment(1, 5, ACK, payload=b"x")
    packet = b"".join(encode_segment(*PAIRS[family], 80, 40000, segment))
    assert gso.packets(NO_OFFLOAD + packet) == [packet]


def v6(protocol: int, transport: bytes) -> bytes:
    addresses = bytes.fromhex("20010db800000000000000000000000120010db8000000000000000000000002")
    return pack(">IHBB", 6 << 28, len(transport), protocol, 64) + addresses + transport


def sum_of(packet: bytes, start: int, addresses: slice, protocol: int) -> int:
    transport = packet[start:]
    total = int.from_bytes(packet[addresses], "big") + protocol + len(transport)
    return (total + int.from_bytes(transport + bytes(len(transport) & 1), "big")) % 0xFFFF


def test_tcp_over_ipv6_is_cut_too() -> None:
    tcp = pack(">HHIIHHHH", 80, 40000, 1, 5, 5 << 12 | ACK | PSH, 9, 0, 0) + DATA[:2500]
    pieces = gso.packets(pack("=BBHHHH", 1, 4, 60, 1000, 40, 16) + v6(6, tcp))
    assert [piece[60:] for piece in pieces] == [DATA[:1000], DATA[1000:2000], DATA[2000:2500]]
    for number, piece in enumerate(pieces):
        assert int.from_bytes(piece[4:6], "big") == len(piece) - 40
        assert int.from_bytes(piece[44:48], "big") == 1 + 1000 * number
        assert sum_of(piece, 40, slice(8, 40), 6) == 0


def test_udp_is_cut_too() -> None:
    udp = pack(">HHHH", 53, 40000, 8 + 2500, 0) + DATA[:2500]
    header = pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 77, 0, 64, 17, 0, US, THEM)
    pieces = gso.packets(pack("=BBHHHH", 1, 5, 28, 1000, 20, 6) + header + udp)
    assert [piece[28:] for piece in pieces] == [DATA[:1000], DATA[1000:2000], DATA[2000:2500]]
    for number, piece in enumerate(pieces):
        assert decode_datagram(piece).identification == 77 + number
        assert int.from_bytes(piece[24:26], "big") == len(piece) - 20
        assert sum_of(piece, 20, slice(12, 20), 17) == 0


@pytest.mark.parametrize("headers", [b"", options_header(17)])
def test_udp_over_ipv6_is_cut_behind_its_extension_headers(headers: bytes) -> None:
    udp = pack(">HHHH", 53, 40000, 8 + 2500, 0) + DATA[:2500]
    start = 40 + len(headers)
    packet = ipv6_packet(headers + udp, next_header=60 if headers else 17)
    pieces = gso.packets(pack("=BBHHHH", 1, 5, start + 8, 1000, start, 6) + packet)
    payloads = []
    for piece in pieces:
        datagram = decode_datagram(piece)
        assert (datagram.protocol, datagram.options) == (17, headers)
        payloads.append(bytes(datagram.payload[8:]))
        assert int.from_bytes(datagram.payload[4:6], "big") == len(datagram.payload)
        assert sum_of(piece, start, slice(8, 40), 17) == 0
    assert payloads == [DATA[:1000], DATA[1000:2000], DATA[2000:2500]]


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"short",
        pack("=BBHHHH", 1, 1, 40, 1000, 60000, 16) + bytes(60),
        pack("=BBHHHH", 1, 99, 40, 1000, 20, 16) + bytes(60),
        pack("=BBHHHH", 1, 1, 40, 1000, 20, 3) + bytes(60),
        pack("=BBHHHH", 1, 1, 40, 1000, 20, 16) + bytes(38),
        pack("=BBHHHH", 1, 1, 40, 1000, 20, 6) + b"\x45" + bytes(27),  # TCP, but UDP's checksum
    ],
)
def test_what_cannot_be_understood_goes_through(frame: bytes) -> None:
    assert len(gso.packets(frame)) == 1
    assert gso.wire_size(frame) == (1, len(gso.packets(frame)[0]))


@pytest.mark.parametrize("size", [0, 1, 1447, 1448, 1449, 2896, 5120])
@pytest.mark.parametrize("gso_size", [0, 1, 1448])
@each_family
def test_the_size_on_a_wire_is_that_of_the_pieces(size: int, gso_size: int, family: str) -> None:
    segment = Segment(1, 5, ACK | CWR, payload=DATA[:size], ts_val=7, gso_size=gso_size)
    frame = large(segment, family)
    pieces = gso.packets(frame)
    assert gso.wire_size(frame) == (len(pieces), sum(map(len, pieces)))


@pytest.mark.parametrize("size", [1, 999, 1000, 1001])
def test_the_size_on_a_wire_of_udp_and_of_ipv6_too(size: int) -> None:
    udp = v6(17, pack(">HHHH", 53, 40000, 8 + size, 0) + DATA[:size])
    frame = pack("=BBHHHH", 1, 5, 48, 100, 40, 6) + udp
    pieces = gso.packets(frame)
    assert len(pieces) == -(-size // 100)
    assert gso.wire_size(frame) == (len(pieces), sum(map(len, pieces)))


@pytest.mark.parametrize("most", [1, 1500, 3000, 4499, 4500, 10_000, 1 << 20])
@pytest.mark.parametrize("size", [1, 1448, 1449, 5120])
@each_family
def test_smaller_frames_stand_for_the_same_packets(size: int, most: int, family: str) -> None:
    segment = Segment(1, 5, ACK | PSH | FIN | CWR, payload=DATA[:size], ts_val=7, gso_size=1448)
    frame = large(segment, family)
    frames = gso.frames(frame, most)
    assert [packet for each in frames for packet in gso.packets(each)] == gso.packets(frame)
    sizes = [gso.wire_size(each) for each in frames]
    assert all(octets <= most or count == 1 for count, octets in sizes)
    assert len(frames) == 1 or all(count == sizes[0][0] for count, _ in sizes[:-1])


def test_smaller_frames_of_udp_and_of_ipv6_too() -> None:
    tcp = pack(">HHIIHHHH", 80, 40000, 1, 5, 5 << 12 | ACK | PSH, 9, 0, 0) + DATA[:2500]
    udp = pack(">HHHH", 53, 40000, 8 + 2500, 0) + DATA[:2500]
    for frame in (
        pack("=BBHHHH", 1, 4, 60, 500, 40, 16) + v6(6, tcp),
        pack("=BBHHHH", 1, 5, 48, 500, 40, 6) + v6(17, udp),
    ):
        frames = gso.frames(frame, 1200)
        assert len(frames) == 3
        assert [packet for each in frames for packet in gso.packets(each)] == gso.packets(frame)


def test_of_a_smaller_frame_the_checksum_is_that_of_its_own_pseudo_header() -> None:
    """Which whoever completes or cuts it begins with."""
    segment = Segment(1, 5, ACK, payload=DATA[:5000], ts_val=7, gso_size=1000)
    for each in gso.frames(large(segment, "IPv6"), 3200):
        packet = bytes(each)[10:]
        pseudo = int.from_bytes(packet[8:40], "big") + 6 + len(packet) - 40
        assert int.from_bytes(packet[56:58], "big") == pseudo % 0xFFFF
        assert int.from_bytes(packet[4:6], "big") == len(packet) - 40
    frame = large(segment, "IPv4")
    for each in gso.frames(frame, 3200):
        packet = bytes(each)[10:]
        field = int.from_bytes(packet[36:38], "big")
        pseudo = int.from_bytes(packet[12:20], "big") + 6 + len(packet) - 20
        assert field == pseudo % 0xFFFF
        assert int.from_bytes(packet[2:4], "big") == len(packet)
        assert int.from_bytes(packet[:20], "big") % 0xFFFF == 0


@pytest.mark.parametrize("frame", [b"", b"short", NO_OFFLOAD + b"\x45" + bytes(3000)])
def test_what_is_not_to_be_cut_is_one_frame(frame: bytes) -> None:
    assert gso.frames(frame, 100) == [frame]
