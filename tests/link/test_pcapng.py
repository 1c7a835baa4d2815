"""Captures, written and read."""

from __future__ import annotations

import io
import struct
import subprocess
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import dpkt
import pytest

from tunstack.path.pcapng import CapturedPacket, PcapngWriter, read_packets

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ECHO = bytes.fromhex(
    "4500001d00010000400150be c6336402 c6336401 08009700 0000000061".replace(" ", "")
)
TIME = 1_700_000_000.123456


def pcap(frames: list[bytes], linktype: int, order: str = "<", magic: int = 0xA1B2C3D4) -> bytes:
    records = [
        struct.pack(order + "4I", 1_700_000_000 + index, 123456, len(frame), len(frame)) + frame
        for index, frame in enumerate(frames)
    ]
    return struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65535, linktype) + b"".join(records)


def block(order: str, kind: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    total = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + total + body + total


def section(order: str) -> bytes:
    return block(order, 0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))


def interface(order: str, linktype: int, options: bytes = b"") -> bytes:
    return block(order, 1, struct.pack(order + "HHI", linktype, 0, 0) + options)


def enhanced(order: str, number: int, ticks: int, frame: bytes, options: bytes = b"") -> bytes:
    head = struct.pack(order + "5I", number, ticks >> 32, ticks & 0xFFFFFFFF, *[len(frame)] * 2)
    return block(order, 6, head + frame + bytes(-len(frame) % 4) + options)


def read(path: Path) -> list[CapturedPacket]:
    """The packets, with times rounded to the microsecond that a float can still tell."""
    return [replace(packet, time=round(packet.time, 6)) for packet in read_packets(path)]


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "x.pcapng"
    with PcapngWriter(path) as writer:
        writer.write(ECHO, TIME, "SYN-SENT -> ESTABLISHED: accepted", outbound=False)
        writer.write(memoryview(ECHO), TIME + 1)
        writer.write(ECHO[:20], TIME + 2, "naïve ✓", outbound=True)
    first, second, third = read(path)
    comment = "SYN-SENT -> ESTABLISHED: accepted"
    assert first == CapturedPacket(TIME, ECHO, comment, 101, outbound=False)
    assert (second.comment, second.outbound) == ("", None)
    assert second.time == TIME + 1
    assert (third.packet, third.comment, third.outbound) == (ECHO[:20], "naïve ✓", True)


def test_dpkt_reads_what_is_written(tmp_path: Path) -> None:
    path = tmp_path / "x.pcapng"
    with PcapngWriter(path, interface="tun7") as writer:
        writer.write(ECHO, TIME, "a comment", outbound=True)
    with open(path, "rb") as file:
        reader = dpkt.pcapng.Reader(file)
        ((time, packet),) = reader
    assert reader.datalink() == 101
    assert (time, packet) == (pytest.approx(TIME, abs=1e-6), ECHO)
    assert reader.idb.opts[0].data == b"tun7"


def test_a_reader_may_follow_while_the_capture_grows(tmp_path: Path) -> None:
    path = tmp_path / "x.pcapng"
    with PcapngWriter(path) as writer:
        assert list(read_packets(path)) == []
        writer.write(ECHO, TIME)
        assert len(list(read_packets(path))) == 1
        writer.write(ECHO, TIME)
        assert len(list(read_packets(path))) == 2


def test_a_file_that_was_given_open_stays_open() -> None:
    file = io.BytesIO()
    with PcapngWriter(file) as writer:
        writer.write(ECHO, TIME)
    assert file.getvalue().startswith(b"\n\r\r\n")


def test_tshark_reads_the_comment_the_direction_and_who_wrote_it(
    tmp_path: Path, require_tool: Callable[[str], str]
) -> None:
    path = tmp_path / "x.pcapng"
    with PcapngWriter(path, interface="tun7") as writer:
        writer.write(ECHO, TIME, "ESTABLISHED: accepted", outbound=False)
        writer.write(ECHO, TIME, "dropped: bad TCP checksum", outbound=True)
        writer.write(ECHO, TIME)
    fields = ["frame.comment", "frame.packet_flags_direction", "ip.dst", "frame.interface_name"]
    arguments = [part for field in fields for part in ("-e", field)]
    run = subprocess.run(
        [require_tool("tshark"), "-r", path, "-T", "fields", "-E", "separator=|", *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    received, sent, unknown = (line.split("|") for line in run.stdout.splitlines())
    assert received[0] == "ESTABLISHED: accepted"
    assert sent[0] == "dropped: bad TCP checksum"
    assert unknown[:2] == ["", ""]
    assert int(received[1], 0) == 1
    assert int(sent[1], 0) == 2
    assert received[2:] == ["198.51.100.1", "tun7"]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("magic", "fraction"), [(0xA1B2C3D4, 0.123456), (0xA1B23C4D, 0.000123456)])
def test_pcap_is_read_in_either_byte_order_and_resolution(
    tmp_path: Path, order: str, magic: int, fraction: float
) -> None:
    path = tmp_path / "x.pcap"
    path.write_bytes(pcap([ECHO, ECHO], 101, order, magic))
    first, second = read(path)
    assert first == CapturedPacket(round(1_700_000_000 + fraction, 6), ECHO, "", 101)
    assert second.time == round(1_700_000_001 + fraction, 6)


@pytest.mark.parametrize("order", ["<", ">"])
def test_pcapng_of_others_is_read(tmp_path: Path, order: str) -> None:
    """Several interfaces and sections, resolutions of their own, blocks and options unknown."""

    def option(code: int, value: bytes) -> bytes:
        return struct.pack(order + "HH", code, len(value)) + value + bytes(-len(value) % 4)

    nanoseconds, binary = option(9, b"\x09"), option(9, b"\x8a")
    offset = option(14, struct.pack(order + "q", 1_000_000))
    comments = option(1, b"one") + option(77, b"?") + option(1, b"two") + bytes(4)
    other = "<" if order == ">" else ">"
    (path := tmp_path / "x.pcapng").write_bytes(
        section(order)
        + interface(order, 101, nanoseconds + bytes(4))
        + block(order, 5, bytes(12))
        + interface(order, 1, binary + offset + bytes(4))
        + enhanced(order, 0, 1_500_000_000, ECHO, comments)
        + enhanced(order, 1, 512, bytes(12) + b"\x08\x00" + ECHO)
        + block(order, 3, struct.pack(order + "I", len(ECHO)) + ECHO)
        + section(other)
        + interface(other, 101)
        + enhanced(other, 0, 7_000_000, ECHO)
    )
    assert read(path) == [
        CapturedPacket(1.5, ECHO, "one\ntwo", 101),
        CapturedPacket(1_000_000.5, ECHO, "", 1),
        CapturedPacket(0.0, ECHO, "", 101),
        CapturedPacket(7.0, ECHO, "", 101),
    ]


@pytest.mark.parametrize(
    ("linktype", "header"),
    [
        (101, b""),
        (12, b""),
        (14, b""),
        (228, b""),
        (1, bytes(12) + b"\x08\x00"),
        (1, bytes(12) + b"\x81\x00\x00\x07\x08\x00"),
        (113, bytes(14) + b"\x08\x00"),
        (276, b"\x08\x00" + bytes(18)),
        (0, b"\x02\0\0\0"),
        (108, b"\0\0\0\x02"),
    ],
)
def test_the_link_header_is_taken_off(tmp_path: Path, linktype: int, header: bytes) -> None:
    path = tmp_path / "x.pcap"
    path.write_bytes(pcap([header + ECHO], linktype))
    (packet,) = read_packets(path)
    assert (packet.packet, packet.linktype) == (ECHO, linktype)


@pytest.mark.parametrize(
    ("linktype", "frame"),
    [
        (1, bytes(12) + b"\x08\x06" + bytes(28)),
        (1, b"short"),
        (113, bytes(14) + b"\x08\x06"),
        (276, b"\x08\x06" + bytes(30)),
        (0, b"\x02\0\0\0"),
    ],
)
def test_what_is_no_ip_packet_is_skipped(tmp_path: Path, linktype: int, frame: bytes) -> None:
    path = tmp_path / "x.pcap"
    path.write_bytes(pcap([frame], linktype))
    assert list(read_packets(path)) == []


def test_what_is_skipped_is_counted_by_name(tmp_path: Path) -> None:
    path = tmp_path / "x.pcap"
    tagged = bytes(12) + b"\x81\x00\x00\x01"
    frames = [
        bytes(12) + b"\x08\x06" + bytes(28),
        tagged + b"\x08\x06" + bytes(28),
        tagged + b"\x08\x00" + ECHO,
        bytes(12) + b"\x88\xcc" + bytes(28),
        bytes(6),
    ]
    path.write_bytes(pcap(frames, 1))
    skipped: Counter[str] = Counter()
    assert [packet.packet for packet in read_packets(path, skipped=skipped)] == [ECHO]
    assert skipped == {"ARP": 2, "ethertype 0x88cc": 1, "not IP": 1}


def test_a_capture_is_read_from_a_pipe_that_brings_it_octet_by_octet() -> None:
    class Pipe(io.RawIOBase):
        """Brings one octet at a time."""

        def __init__(self, content: bytes) -> None:
            self._content = io.BytesIO(content)

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            data = self._content.read(1)
            buffer[: len(data)] = data
            return len(data)

    written = io.BytesIO()
    writer = PcapngWriter(written)
    writer.write(ECHO, TIME, "one")
    writer.write(ECHO, TIME, "two")
    for content in (written.getvalue(), pcap([ECHO, ECHO], 101)):
        pipe = io.BufferedReader(Pipe(content))
        assert [packet.packet for packet in read_packets(pipe)] == [ECHO, ECHO]
    damaged = io.BufferedReader(Pipe(written.getvalue()[:-3]))
    with pytest.raises(ValueError, match="standard input: truncated capture"):
        list(read_packets(damaged, title="standard input"))


@pytest.mark.parametrize("content", [b"", b"\n", b"GIF89a" + bytes(100), bytes(100)])
def test_a_file_that_is_no_capture_is_a_value_error(tmp_path: Path, content: bytes) -> None:
    (path := tmp_path / "picture.gif").write_bytes(content)
    with pytest.raises(ValueError, match=r"picture\.gif is no capture"):
        list(read_packets(path))


@pytest.mark.parametrize("suffix", ["pcap", "pcapng"])
def test_a_capture_that_is_cut_off_gives_its_whole_packets_then_a_value_error(
    tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"x.{suffix}"
    if suffix == "pcap":
        path.write_bytes(pcap([ECHO, ECHO], 101))
    else:
        with PcapngWriter(path) as writer:
            writer.write(ECHO, TIME)
            writer.write(ECHO, TIME)
    whole = path.read_bytes()
    one_packet = (len(whole) - len(pcap([], 101))) // 2 if suffix == "pcap" else 64
    for missing in range(1, one_packet):
        path.write_bytes(whole[:-missing])
        packets = read_packets(path)
        assert next(packets).packet == ECHO
        with pytest.raises(ValueError, match=r"x\.pcap.*: truncated capture"):
            next(packets)


def test_an_excessive_length_is_a_value_error_and_not_read(tmp_path: Path) -> None:
    (path := tmp_path / "x.pcap").write_bytes(
        pcap([], 101) + struct.pack("<4I", 0, 0, 0xFFFFFFFF, 0xFFFFFFFF)
    )
    with pytest.raises(ValueError, match="damaged capture"):
        list(read_packets(path))


@pytest.mark.parametrize(
    "blocks",
    [
        enhanced("<", 0, 0, ECHO),
        interface("<", 101) + enhanced("<", 1, 0, ECHO),
        interface("<", 101) + block("<", 6, struct.pack("<5I", 0, 0, 0, 1000, 1000)),
        interface("<", 101) + block("<", 6, b""),
        interface("<", 101) + struct.pack("<III", 6, 8, 8),
        block("<", 1, b""),
    ],
    ids=["no-interface", "wrong-interface", "too-short", "empty", "tiny-length", "empty-interface"],
)
def test_a_damaged_pcapng_file_is_a_value_error(tmp_path: Path, blocks: bytes) -> None:
    (path := tmp_path / "x.pcapng").write_bytes(section("<") + blocks)
    with pytest.raises(ValueError, match="damaged capture"):
        list(read_packets(path))


def test_an_unknown_link_type_is_a_value_error(tmp_path: Path) -> None:
    (path := tmp_path / "x.pcap").write_bytes(pcap([ECHO], 105))
    with pytest.raises(ValueError, match="link type 105 is not supported"):
        list(read_packets(path))


def test_a_file_that_is_not_there_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        list(read_packets(tmp_path / "nothing.pcap"))
