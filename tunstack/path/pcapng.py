"""Write pcapng captures with a comment for each packet; read pcap and pcapng.

dpkt writes the section and interface blocks. Packet blocks are written and read here, which is
several times faster; and dpkt's reader drops comments and does not detect truncated files.

Sources: draft-ietf-opsawg-pcapng (sections 4.1 to 4.4 and 4.7), draft-ietf-opsawg-pcap,
draft-ietf-opsawg-pcaplinktype.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Final, TypeAlias, final

from dpkt import pcapng

from tunstack.link.forking import close_in_children

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator, Sequence
    from types import TracebackType
    from typing import Self

LINKTYPE_RAW: Final = 101
"""Raw IP packets, version 4 or 6, without a link header."""

_SNAPLEN: Final = 262144
_OPT_COMMENT: Final = 1
_OPT_EPB_FLAGS: Final = 2
_OPT_IF_TSRESOL: Final = 9
_OPT_IF_TSOFFSET: Final = 14
_END_OF_OPTIONS: Final = bytes(4)
_INBOUND: Final = 1
_OUTBOUND: Final = 2
_IS_OUTBOUND: Final = {_INBOUND: False, _OUTBOUND: True}

_SECTION: Final = 0x0A0D0D0A
_INTERFACE: Final = 1
_SIMPLE_PACKET: Final = 3
_ENHANCED_PACKET: Final = 6
_DECRYPTION_SECRETS: Final = 10
_TLS_KEY_LOG: Final = 0x544C534B

_MAX_BLOCK: Final = 1 << 24
"""Octets: a larger block means a damaged file, and is not read into memory."""

_MOVED_AT_ONCE: Final = 1 << 20

_PCAP_MAGIC: Final = {
    b"\xa1\xb2\xc3\xd4": (">", 1e-6),
    b"\xd4\xc3\xb2\xa1": ("<", 1e-6),
    b"\xa1\xb2\x3c\x4d": (">", 1e-9),
    b"\x4d\x3c\xb2\xa1": ("<", 1e-9),
}
_RAW_LINKS: Final = frozenset({12, 14, LINKTYPE_RAW, 228, 229})
_ETHERTYPES: Final = frozenset({b"\x08\x00", b"\x86\xdd"})
_VLAN_TAGS: Final = frozenset({b"\x81\x00", b"\x88\xa8"})
_ARP: Final = b"\x08\x06"


@final
class PcapngWriter:
    """Writes a capture of IP packets that Wireshark and tshark read, comments included.

    Each packet is flushed, so that a reader can follow the file. A context manager.

    Args:
        target: Path of the file, which is overwritten; or a binary file, which is left open.
        interface: Name of the interface, for the reader.

    Raises:
        OSError: the file cannot be written; also from :meth:`write`.
    """

    def __init__(self, target: str | os.PathLike[str] | IO[bytes], interface: str = "tun") -> None:
        self._owned = isinstance(target, (str, os.PathLike))
        self._file: IO[bytes]
        if isinstance(target, (str, os.PathLike)):
            self._file = open(target, "wb")  # noqa: SIM115 - open for as long as the writer is
            close_in_children(self._file, redirect_to_devnull)
        else:
            self._file = target
        section = pcapng.SectionHeaderBlockLE(
            opts=_dpkt_options({pcapng.PCAPNG_OPT_SHB_USERAPPL: _application()})
        )
        description = pcapng.InterfaceDescriptionBlockLE(
            linktype=LINKTYPE_RAW,
            snaplen=_SNAPLEN,
            opts=_dpkt_options(
                {pcapng.PCAPNG_OPT_IF_NAME: interface.encode(), _OPT_IF_TSRESOL: b"\x06"}
            ),
        )
        self._file.write(bytes(section) + bytes(description))
        self._file.flush()

    def write(
        self,
        packet: bytes | bytearray | memoryview,
        time: float,
        comment: str = "",
        outbound: bool | None = None,
    ) -> None:
        """Append one IP packet.

        Args:
            packet: The whole packet.
            time: Seconds since the UNIX epoch; written in microseconds.
            comment: opt_comment; ``frame.comment`` in tshark.
            outbound: True when we sent it, False when we received it, None when unknown.
        """
        options = b""
        if comment:
            options += _option(_OPT_COMMENT, comment.encode(errors="replace")[:0xFFFF])
        if outbound is not None:
            flags = _OUTBOUND if outbound else _INBOUND
            options += _option(_OPT_EPB_FLAGS, flags.to_bytes(4, "little"))
        if options:
            options += _END_OF_OPTIONS
        size = len(packet)
        padding = bytes(-size % 4)
        total = 32 + size + len(padding) + len(options)
        ticks = round(time * 1e6)
        head = struct.pack(
            "<7I", _ENHANCED_PACKET, total, 0, ticks >> 32, ticks & 0xFFFFFFFF, size, size
        )
        tail = total.to_bytes(4, "little")
        self._file.write(b"".join((head, packet, padding, options, tail)))
        self._file.flush()

    def write_secrets(self, keys: bytes) -> None:
        """Append TLS keys, which decrypt the packets behind them.

        Args:
            keys: Whole lines, as SSLKEYLOGFILE has them (RFC 9850).
        """
        self._file.write(secrets_block(keys))
        self._file.flush()

    def close(self) -> None:
        """Close the file if it was opened here; idempotent."""
        if self._owned:
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def secrets_block(keys: bytes) -> bytes:
    """A Decryption Secrets Block (section 4.7) of a TLS key log."""
    padding = bytes(-len(keys) % 4)
    total = 20 + len(keys) + len(padding)
    head = struct.pack("<4I", _DECRYPTION_SECRETS, total, _TLS_KEY_LOG, len(keys))
    return b"".join((head, keys, padding, total.to_bytes(4, "little")))


def insert_secrets(path: str | os.PathLike[str], keys: Sequence[bytes]) -> None:
    """Write TLS keys before the first packet of a capture of :class:`PcapngWriter`.

    The packets are moved within the file, which first gets its new size.

    Args:
        path: The file.
        keys: For a block each, as of :meth:`PcapngWriter.write_secrets`.

    Raises:
        OSError: the file cannot be written; it has not changed if there is no room.
        ValueError: it is no such capture.
    """
    blocks = b"".join(map(secrets_block, keys))
    with open(path, "r+b") as file:
        first = 0
        for kind in (_SECTION, _INTERFACE):
            head = file.read(8)
            if len(head) < 8 or struct.unpack("<II", head)[0] != kind:
                raise ValueError("it is no capture of tunstack")
            first += struct.unpack("<II", head)[1]
            file.seek(first)
        end = file.seek(0, os.SEEK_END)
        if end < first:
            raise ValueError("truncated capture")
        os.posix_fallocate(file.fileno(), end, len(blocks))
        while end > first:
            begin = max(first, end - _MOVED_AT_ONCE)
            file.seek(begin)
            data = file.read(end - begin)
            file.seek(begin + len(blocks))
            file.write(data)
            end = begin
        file.seek(first)
        file.write(blocks)


def redirect_to_devnull(file: IO[bytes]) -> None:
    """Replace an open file's descriptor by /dev/null, so that writes to it are discarded."""
    if file.closed:
        return
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, file.fileno(), inheritable=False)
    os.close(null)


@dataclass(frozen=True, slots=True)
class CapturedPacket:
    """One IP packet of a capture.

    Attributes:
        time: Seconds since the UNIX epoch; 0.0 where the file has none.
        packet: From the IP header on, without the link header; truncated if captured with a
            snapshot length.
        comment: The packet's comments, a line each; empty in pcap files.
        linktype: The file's link type, as a number of the LINKTYPE registry.
        outbound: Whether the capturing host sent it (True) or received it (False), as epb_flags
            say; None where the file does not.
    """

    time: float
    packet: bytes
    comment: str
    linktype: int
    outbound: bool | None = None


_Frame: TypeAlias = tuple[float, bytes, str, int, bool | None]
"""Time, octets, comments, link type, outbound."""


def read_packets(
    source: str | os.PathLike[str] | IO[bytes],
    *,
    title: str = "the capture",
    skipped: Counter[str] | None = None,
) -> Iterator[CapturedPacket]:
    """Read the IP packets of a pcap or pcapng file, in order; other packets are skipped.

    Link types: raw IP, Ethernet (with VLAN tags), Linux cooked (SLL, SLL2), BSD loopback.

    Args:
        source: Path of the file; or a binary file, which may be a pipe, and is left open.
        title: The name in errors of a file that has no path.
        skipped: Counts the other packets, by name: ``"ARP"``, ``"ethertype 0x88cc"``.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file is no capture, is truncated or damaged, or has another link type.
            Errors are raised while iterating, after the packets before the damage.
    """
    if isinstance(source, (str, os.PathLike)):
        with open(source, "rb") as file:
            yield from read_packets(file, title=os.fspath(source), skipped=skipped)
        return
    magic = source.read(4)
    if magic == _SECTION.to_bytes(4, "big"):
        packets = _read_pcapng(source, magic)
    elif magic in _PCAP_MAGIC:
        packets = _read_pcap(source, magic)
    else:
        raise ValueError(f"{title} is no capture: neither pcap nor pcapng")
    try:
        for time, frame, comment, linktype, outbound in packets:
            packet = _without_link_header(frame, linktype)
            if packet is not None:
                yield CapturedPacket(time, packet, comment, linktype, outbound)
            elif skipped is not None:
                skipped[_name_of(frame, linktype)] += 1
    except ValueError as error:
        raise ValueError(f"{title}: {error}") from None


def _read_pcap(file: IO[bytes], magic: bytes) -> Iterator[_Frame]:
    header = magic + _read_exactly(file, 20)
    order, resolution = _PCAP_MAGIC[magic]
    linktype = struct.unpack_from(order + "I", header, 20)[0] & 0xFFFF
    record = struct.Struct(order + "4I")
    while head := file.read(16):
        if len(head) < 16:
            raise ValueError("truncated capture")
        seconds, fraction, size, _ = record.unpack(head)
        yield seconds + fraction * resolution, _read_exactly(file, size), "", linktype, None


def _read_pcapng(file: IO[bytes], magic: bytes) -> Iterator[_Frame]:
    order = "<"
    interfaces: list[_Interface] = []
    head = magic + file.read(4)
    while head:
        if head[:4] == _SECTION.to_bytes(4, "big"):
            order_magic = _read_exactly(file, 4)
            order = "<" if order_magic == b"\x4d\x3c\x2b\x1a" else ">"
            interfaces = []
            head += order_magic
        if len(head) < 8:
            raise ValueError("truncated capture")
        kind, total = struct.unpack_from(order + "II", head)
        if total < len(head) + 4 or total % 4:
            raise ValueError(f"damaged capture: a block of {total} bytes")
        body = _read_exactly(file, total - len(head))[:-4]
        try:
            if kind == _INTERFACE:
                interfaces.append(_Interface.parse(body, order))
            elif kind == _ENHANCED_PACKET:
                yield _enhanced_packet(body, order, interfaces)
            elif kind == _SIMPLE_PACKET:
                size = struct.unpack_from(order + "I", body)[0]
                yield 0.0, body[4 : 4 + size], "", interfaces[0].linktype, None
        except (struct.error, IndexError) as error:
            raise ValueError(f"damaged capture: {error}") from error
        head = file.read(8)


@dataclass(frozen=True, slots=True)
class _Interface:
    linktype: int
    resolution: float = 1e-6
    offset: int = 0

    @classmethod
    def parse(cls, body: bytes, order: str) -> _Interface:
        resolution, offset = 1e-6, 0
        for code, value in _options(body, 8, order):
            if code == _OPT_IF_TSRESOL:
                resolution = float(2 if value[0] & 0x80 else 10) ** -(value[0] & 0x7F)
            elif code == _OPT_IF_TSOFFSET:
                (offset,) = struct.unpack(order + "q", value)
        return cls(struct.unpack_from(order + "H", body)[0], resolution, offset)


def _enhanced_packet(body: bytes, order: str, interfaces: list[_Interface]) -> _Frame:
    number, high, low, size = struct.unpack_from(order + "4I", body)
    interface = interfaces[number]
    if 20 + size > len(body):
        raise ValueError("damaged capture: a packet longer than its block")
    comments, outbound = [], None
    for code, value in _options(body, 20 + size + -size % 4, order):
        if code == _OPT_COMMENT:
            comments.append(value.decode(errors="replace"))
        elif code == _OPT_EPB_FLAGS:
            flags = int.from_bytes(value, "little" if order == "<" else "big")
            outbound = _IS_OUTBOUND.get(flags & 3)
    time = interface.offset + (high << 32 | low) * interface.resolution
    return time, body[20 : 20 + size], "\n".join(comments), interface.linktype, outbound


def _options(body: bytes, start: int, order: str) -> Iterator[tuple[int, bytes]]:
    while start + 4 <= len(body):
        code, size = struct.unpack_from(order + "HH", body, start)
        if code == 0:
            return
        yield code, body[start + 4 : start + 4 + size]
        start += 4 + size + -size % 4


def _without_link_header(frame: bytes, linktype: int) -> bytes | None:
    """Return the IP packet in a frame; None for other protocols."""
    if linktype in _RAW_LINKS:
        return frame
    if linktype in (0, 108):  # BSD loopback: an address family, in the writer's byte order
        return frame[4:] if frame[4:5] and frame[4] >> 4 in (4, 6) else None
    if (start := _ethertype_at(frame, linktype)) is not None:
        behind = {1: start + 2, 113: 16, 276: 20}[linktype]
        return frame[behind:] if frame[start : start + 2] in _ETHERTYPES else None
    raise ValueError(f"link type {linktype} is not supported: capture raw IP or Ethernet")


def _ethertype_at(frame: bytes, linktype: int) -> int | None:
    """The offset of the EtherType, after VLAN tags; None for link types without one."""
    if linktype == 1:
        start = 12
        while frame[start : start + 2] in _VLAN_TAGS:
            start += 4
        return start
    return {113: 14, 276: 0}.get(linktype)


def _name_of(frame: bytes, linktype: int) -> str:
    """Name the protocol of a frame without an IP packet."""
    start = _ethertype_at(frame, linktype)
    ethertype = b"" if start is None else frame[start : start + 2]
    if len(ethertype) < 2:
        return "not IP"
    return "ARP" if ethertype == _ARP else f"ethertype 0x{ethertype.hex()}"


def _read_exactly(file: IO[bytes], size: int) -> bytes:
    if size > _MAX_BLOCK:
        raise ValueError(f"damaged capture: a length of {size} bytes")
    data = file.read(size)
    if len(data) < size:
        raise ValueError("truncated capture")
    return data


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + value + bytes(-len(value) % 4)


def _dpkt_options(values: dict[int, bytes]) -> list[pcapng.PcapngOptionLE]:
    options = [pcapng.PcapngOptionLE(code=code, data=value) for code, value in values.items()]
    return [*options, pcapng.PcapngOptionLE(code=pcapng.PCAPNG_OPT_ENDOFOPT)]


def _application() -> bytes:
    from importlib import metadata  # here, as it is slow to import and only writing needs it

    try:
        return f"tunstack {metadata.version('tunstack')}".encode()
    except metadata.PackageNotFoundError:  # run from a folder of sources
        return b"tunstack"
