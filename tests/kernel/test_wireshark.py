"""Wireshark's two programs remark on the same."""

from __future__ import annotations

import os
import signal
import struct
from typing import TYPE_CHECKING

import pytest

from tests.kernel.wireshark import ERROR, NOTE, WARNING, Sharkd, Tshark, Wireshark, without_names
from tests.leftovers import Watch
from tunstack import Packet
from tunstack.path.pcapng import PcapngWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

OURS, PEER = "198.51.100.2", "198.51.100.1"


def from_us(port: int = 7, **fields: object) -> Packet:
    ends = {"source": OURS, "destination": PEER, "source_port": port, "destination_port": 40000}
    return Packet.tcp(**{**ends, "seq": 5000, "ack": 1001, **fields})  # type: ignore[arg-type]


def from_peer(port: int = 7, **fields: object) -> Packet:
    ends = {"source": PEER, "destination": OURS, "source_port": 40000, "destination_port": port}
    return Packet.tcp(**{**ends, "seq": 1001, "ack": 5001, **fields})  # type: ignore[arg-type]


def faults() -> Iterator[Packet]:
    """Packets of which Wireshark has much to say."""
    timestamps = bytes([1, 1, 8, 10]) + bytes(8)
    yield from_peer(flags="SYN", seq=1000, ack=0, options=b"\x02\x04\x05\xb4")
    yield from_us(flags="SYN,ACK", options=b"\x02\x04\x05\xb4")
    yield from_peer(payload=bytes(100))
    yield from_peer(payload=bytes(100))  # Retransmitted.
    yield from_peer(payload=bytes(50), seq=1301)  # Beyond a gap.
    for _ in range(5):
        yield from_us(seq=5001, ack=1101)  # Duplicate acknowledgements.
    yield from_peer(payload=bytes(100), seq=1101)  # Out of order.
    yield from_us(seq=5001, ack=9999)  # Of what was never sent.
    yield from_us(seq=5001, ack=1351, window=10)
    yield from_peer(payload=bytes(10), seq=1351)  # The window is full.
    yield from_us(seq=5001, ack=1361, window=0)
    yield from_peer(payload=b"x", seq=1361)  # A probe.
    yield from_us(seq=5001, ack=1361, window=0)
    yield from_peer(seq=1360)  # A keep-alive.
    yield from_us(seq=5001, ack=1361, window=500)
    yield from_us(seq=5001, ack=1361, checksum=1, payload=b"damaged")
    yield from_us(seq=5008, ack=1361, urgent=7, options=timestamps)  # Without URG.
    yield from_us(flags="PSH", seq=5008, ack=1361)  # Without ACK.
    for options in (b"\x02\x07\x05\xb4", b"\x08\x02\1\1", b"\x05\x03\1\1", bytes([250, 9, 0, 0])):
        yield from_us(seq=5008, ack=1361, options=options)
    header = bytearray(from_us(seq=5008, ack=1361).data)
    header[10] ^= 1
    yield Packet(bytes(header), "out")  # IP's checksum.
    yield Packet(bytes(header[:-4]), "out")  # Shorter than it says.
    header[32] = 0x10
    yield Packet(bytes(header), "out")  # A TCP header of 4 octets: the message has a comma.
    yield from_us(flags="RST,ACK", seq=5008, ack=1361).icmp_error("port-unreachable")
    yield from_us(flags="RST,ACK", seq=5008, ack=1361)
    yield from_peer(flags="SYN", seq=70000, ack=0)  # The ports are used again.
    for port in (53, 80, 443, 445, 3306):  # What these ports mean is nobody's guess.
        yield from_peer(port, flags="SYN", seq=1000, ack=0)
        yield from_us(port, flags="SYN,ACK")
        yield from_peer(port, payload=struct.pack("!H", 30) + bytes([255] * 30))
        yield from_peer(port, payload=b"GET \x16\3\1\2\0 HTTP/9.9\r\n\r\n", seq=1033)
        yield from_peer(port, flags="FIN,ACK", seq=1055)
        yield from_us(port, flags="FIN,ACK", seq=5001, ack=1056)
    yield from_peer(source="2001:db8::1", destination="2001:db8::2", flags="RST", checksum=9)
    for payload in (b"x", b"no query of DNS"):
        yield Packet.udp(
            source="2001:db8::2",
            destination="2001:db8::1",
            source_port=5,
            destination_port=53,
            payload=payload,
            checksum=9,
        )


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("faults") / "faults.pcapng"
    with PcapngWriter(path) as writer:
        for number, packet in enumerate(faults()):
            comment = ("", "a comment", "one, of two, that is like a list")[number % 3]
            writer.write(packet.data, 1e9 + number / 100, comment, packet.direction == "out")
    return path


@pytest.fixture
def sharkd(require_tool: Callable[[str], str], tmp_path: Path) -> Iterator[Sharkd]:
    sharkd = Sharkd(require_tool("sharkd"), tmp_path)
    yield sharkd
    sharkd.close()


def test_both_programs_find_the_same(
    sharkd: Sharkd, capture: Path, require_tool: Callable[[str], str], tmp_path: Path
) -> None:
    found = sharkd.remarks(capture)
    assert found == Tshark(require_tool("tshark")).remarks(capture)
    assert {remark.severity for remark in found} == {NOTE, WARNING, ERROR}
    assert len({remark.message for remark in found}) > 20
    assert any("|" in remark.source for remark in found)
    assert any("," in remark.message for remark in found)
    # And when it has read another in between.
    clean = tmp_path / "clean.pcapng"
    with PcapngWriter(clean) as writer:
        writer.write(from_peer(flags="SYN", ack=0).data, 1e9)
    assert sharkd.remarks(clean) == []
    assert sharkd.remarks(capture) == found


def test_without_sharkd_the_other_is_asked(
    capture: Path, require_tool: Callable[[str], str], tmp_path: Path
) -> None:
    watch = Watch()
    tshark, program = require_tool("tshark"), require_tool("sharkd")
    wireshark = Wireshark(tshark, program, tmp_path)
    found = wireshark.remarks(capture)
    assert wireshark.pid
    os.kill(wireshark.pid, signal.SIGKILL)
    assert wireshark.remarks(capture) == found
    assert wireshark.pid is None
    assert watch.leftovers() == []
    for absent in (str(tmp_path / "absent"), "/bin/true"):
        wireshark = Wireshark(tshark, absent, tmp_path)
        assert wireshark.remarks(capture) == found
    wireshark.close()
    assert watch.leftovers() == []


@pytest.fixture
def capture_of_one(tmp_path: Path) -> Path:
    path = tmp_path / "capture.pcapng"
    with PcapngWriter(path) as writer:
        writer.write(from_peer(checksum=1).data, 1e9)
    return path


def test_one_that_has_taken_much_memory_is_replaced_and_none_is_there_at_the_end(
    require_tool: Callable[[str], str], capture_of_one: Path, tmp_path: Path
) -> None:
    watch = Watch()
    wireshark = Wireshark(require_tool("tshark"), require_tool("sharkd"), tmp_path, memory=1)
    seen = []
    for _ in range(2):
        (remark,) = wireshark.remarks(capture_of_one)
        assert remark.message.startswith("Bad checksum")
        seen.append(wireshark.pid)
    assert seen[0] != seen[1]
    assert None not in seen
    wireshark.close()
    assert watch.leftovers() == []


def test_it_reads_no_names_and_so_keeps_little_of_a_capture(
    sharkd: Sharkd, capture_of_one: Path
) -> None:
    if not without_names():
        pytest.skip("no file may be hidden here")
    sharkd.remarks(capture_of_one)
    before = sharkd.memory
    for _ in range(10):
        assert len(sharkd.remarks(capture_of_one)) == 1
    assert 100 < before <= sharkd.memory < before + 20
