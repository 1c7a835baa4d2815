"""Behaviours of the segments themselves: windows, ACKs, options, data twice or damaged."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from socket import IPPROTO_TCP, SO_RCVBUF, SOL_SOCKET, TCP_INFO, TCP_MAXSEG
from struct import Struct
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import trio

from tunstack.behaviours.base import Behaviour, Parameter
from tunstack.behaviours.ending import After
from tunstack.behaviours.opening import SYN
from tunstack.behaviours.port import PerConnection
from tunstack.behaviours.streams import ActingStream, run_beside
from tunstack.behaviours.values import OCTETS, SECONDS, SHARE, Kind, choice
from tunstack.path.spec import Quantity

if TYPE_CHECKING:
    from tunstack.behaviours.base import Handler
    from tunstack.behaviours.port import Port
    from tunstack.path.rules import Packet
    from tunstack.socket import Socket, TcpStream

_MSS: Final = Kind(Quantity("a number of octets", "536", {"": 0}), 88, 65495, whole=True)
_MODULUS: Final = 1 << 32
_LARGEST_LEFT: Final = 0xFFFF
"""Octets that a window can have at least, whatever its scale."""
_LARGE_BUFFER: Final = 131072
_BYTES_RECEIVED: Final = 128
"""The offset of tcpi_bytes_received in Linux's ``struct tcp_info``."""
_COUNTER: Final = Struct("=Q")
_NEVER_SENT: Final = 100_000
"""Octets beyond what the client has sent, which a wrong ACK acknowledges."""
_IN_THE_WINDOW: Final = 100
"""Octets from the next expected octet, where a blind reset is."""


@dataclass(frozen=True)
class ZeroWindowAfter(Behaviour):
    """The window closes, and opens again after a time, or never.

    Attributes:
        octets: How many are taken, rounded up to the unit of the window scale, most often 128, and
            at most one unit more.
        seconds: For how long it is closed, from the opening of the connection; None for ever.
    """

    octets: int = 0
    seconds: float | None = None

    name = "zero-window-after"
    summary = "the window closes after OCTETS, and opens after TIME, or never"
    example = "zero-window-after=10000/500ms"
    copes = "Limit the time of a write, as by TCP_USER_TIMEOUT: a zero window is probed for ever."
    part = "segments"
    places = ((Parameter("octets", OCTETS, "OCTETS"),), (Parameter("seconds", SECONDS, "TIME"),))

    def options(self) -> dict[tuple[int, int], int]:
        """A buffer no larger than that, as data may come before the program begins."""
        return {(SOL_SOCKET, SO_RCVBUF): min(self.octets, _LARGEST_LEFT)}

    def install(self, port: Port) -> None:
        """Offer no more with the SYN,ACK: no buffer is as small as a window can be."""
        port.add(port.rules.call, self._offer, direction="out", flags="SYN,ACK")

    def _offer(self, packet: Packet) -> Packet:
        return packet.replace(window=min(self.octets, packet.window or 0))

    async def serve(self, _port: Port, stream: TcpStream, handler: Handler) -> None:
        """Serve it with a window that closes."""
        sock = stream.socket

        async def freeze() -> None:
            with suppress(OSError):  # It is gone already.
                sock.freeze(max(0, self.octets - _received(sock)), shrink=True)
            await trio.lowlevel.checkpoint()

        async def thaw() -> None:
            await trio.sleep(self.seconds or 0.0)
            with suppress(OSError):
                sock.setsockopt(SOL_SOCKET, SO_RCVBUF, _LARGE_BUFFER)
                sock.thaw()

        before = max(0, self.octets - _LARGEST_LEFT)
        freezing = ActingStream(stream, freeze, "as before", str(self), "in", before or None)
        if not before:
            await freezing.act_now()
        if self.seconds is None:
            await handler(freezing)  # type: ignore[arg-type]
        else:
            await run_beside(thaw, handler, freezing)


def _received(sock: Socket) -> int:
    """Octets that have come in order."""
    info = sock.getsockopt(IPPROTO_TCP, TCP_INFO, _BYTES_RECEIVED + 8)
    received: int = _COUNTER.unpack_from(info, _BYTES_RECEIVED)[0]
    return received


@dataclass(frozen=True)
class StopAcknowledging(After):
    """Nothing is acknowledged any more, though data still come.

    Attributes:
        octets: So many that the program has received, or that were sent and acknowledged.
        seconds: The time since the connection was accepted instead.
        way: Whether octets are counted ``"in"``, from the client to the host, or ``"out"``.
    """

    way: Literal["in", "out"] = "in"

    name = "stop-acknowledging"
    summary = "data after OCTETS or TIME are not acknowledged"
    example = "stop-acknowledging=4096"
    copes = "Set TCP_USER_TIMEOUT: without it Linux retransmits for about 15 minutes."
    part = "segments"
    afterwards = "as before"

    async def act(self, _port: Port, stream: TcpStream) -> None:
        """Stop."""
        with suppress(OSError):  # It is gone already.
            stream.socket.send_segment()  # What has come before is acknowledged.
            stream.socket.stop_acknowledging()
        await trio.lowlevel.checkpoint()


@dataclass(frozen=True)
class TinyMss(Behaviour):
    """A small MSS is announced, and kept to.

    Attributes:
        mss: In octets.
    """

    mss: int

    name = "tiny-mss"
    summary = "segments of at most OCTETS, in both directions"
    example = "tiny-mss=100"
    copes = "Do not expect one read to return what one write has sent."
    part = "segments"
    places = ((Parameter("mss", _MSS, "OCTETS"),),)
    needed = 1
    usable_for_some = False

    def options(self) -> dict[tuple[int, int], int]:
        """The MSS that is announced."""
        return {(IPPROTO_TCP, TCP_MAXSEG): self.mss}

    async def serve(self, _port: Port, stream: TcpStream, handler: Handler) -> None:
        """Serve it with small segments."""
        stream.setsockopt(IPPROTO_TCP, TCP_MAXSEG, self.mss)
        await handler(stream)


@dataclass(frozen=True)
class NoOptions(Behaviour):
    """A middlebox takes the options out of the SYN: no MSS, window scale, SACK, timestamps."""

    name = "no-options"
    summary = "the SYN loses its options: segments of 536, window below 64 KiB, no SACK"
    example = "no-options"
    copes = "Nothing is needed: the connection is slower, and works."
    part = "segments"

    def install(self, port: Port) -> None:
        """Take them out of the SYN, so that neither end uses them."""
        port.add(port.rules.call, _without_options, direction="in", flags=SYN)


@dataclass(frozen=True)
class Overlap(Behaviour):
    """Each data segment is sent as two, whose octets overlap."""

    name = "overlap"
    summary = "each data segment comes as two that overlap"
    example = "overlap"
    copes = "Nothing is needed: TCP delivers each octet once."
    part = "segments"

    def install(self, port: Port) -> None:
        """Send two for one."""

        def two(packet: Packet) -> list[Packet]:
            seq, _, payload, flags = _fields(packet)
            third = len(payload) // 3
            first = packet.replace(payload=payload[:-third], flags=_without(flags, "FIN"))
            return [first, packet.replace(seq=seq + third, payload=payload[third:])]

        port.add(port.rules.call, two, direction="out", where=_has_three_octets)


@dataclass(frozen=True)
class OldDuplicate(Behaviour):
    """After each data segment the one before comes again, late."""

    name = "old-duplicate"
    summary = "each data segment is followed by the one before, again"
    example = "old-duplicate"
    copes = "Nothing is needed: TCP drops the segment, and acknowledges again."
    part = "segments"

    def install(self, port: Port) -> None:
        """Send the one before again."""
        before = PerConnection(list["Packet"])

        def again(packet: Packet) -> list[Packet]:
            last = before.of(packet)
            sent = [packet, *last]
            last[:] = [packet]
            return sent

        port.add(port.rules.call, again, direction="out", where=_carries_data)


@dataclass(frozen=True)
class WrongAck(Behaviour):
    """Segments acknowledge what the client has never sent.

    Attributes:
        where: ``"syn"``: the SYN,ACK, so that no connection opens; ``"data"``: one more segment
            before each that carries data.
    """

    where: Literal["syn", "data"] = "syn"

    name = "wrong-ack"
    summary = "the SYN,ACK, or a segment before data, acknowledges what was never sent"
    example = "wrong-ack=data"
    copes = "Limit the time for connecting: TCP answers with RST or ACK, and takes nothing of it."
    part = "segments"
    places = ((Parameter("where", choice("syn", "data"), "syn|data"),),)

    def install(self, port: Port) -> None:
        """Change the acknowledgement, or send one more."""
        if self.where == "syn":
            port.add(port.rules.call, _with_wrong_ack, direction="out", flags="SYN,ACK")
            return

        def two(packet: Packet) -> list[Packet]:
            return [_with_wrong_ack(packet).replace(payload=b"", flags="ACK"), packet]

        port.add(port.rules.call, two, direction="out", where=_carries_data)


@dataclass(frozen=True)
class BlindReset(Behaviour):
    """Before each data segment a RST that an attacker guessed (RFC 5961 section 3)."""

    name = "blind-reset"
    summary = "RSTs in the window, but not at the expected number (RFC 5961)"
    example = "blind-reset"
    copes = "Nothing is needed: TCP answers with a challenge ACK."
    part = "segments"

    def install(self, port: Port) -> None:
        """Send a RST before each."""

        def two(packet: Packet) -> list[Packet]:
            seq, _, payload, _ = _fields(packet)
            at = seq + len(payload) + _IN_THE_WINDOW
            return [packet.replace(seq=at, payload=b"", flags="RST"), packet]

        port.add(port.rules.call, two, direction="out", where=_carries_data)


@dataclass(frozen=True)
class IcmpNoise(Behaviour):
    """Each segment of data is delivered, and an ICMP error says that it was not.

    Attributes:
        what: ``"host"`` or ``"network"`` unreachable: soft errors (RFC 1122 section 4.2.3.9).
    """

    what: Literal["host", "network"] = "host"

    name = "icmp-noise"
    summary = "ICMP host or network unreachable for data that are delivered"
    example = "icmp-noise=network"
    copes = "Do not end a connection for a soft error (RFC 1122 section 4.2.3.9)."
    part = "segments"
    places = ((Parameter("what", choice("host", "network"), "WHAT"),),)

    def install(self, port: Port) -> None:
        """Answer, and deliver."""

        def noise(packet: Packet) -> Packet:
            port.rules.inject(packet.icmp_error(f"{self.what}-unreachable"), "out")
            return packet

        port.add(port.rules.call, noise, direction="in", where=_carries_data)


@dataclass(frozen=True)
class Damage(Behaviour):
    """An octet of the data is wrong, and the checksum right, as by faulty memory on the way.

    Attributes:
        share: Of the segments with data, from 0 to 1.
        way: In which direction.
    """

    share: float
    way: Literal["in", "out"] = "out"

    name = "damage"
    summary = "an octet is wrong in SHARE of the segments, and the checksum right"
    example = "damage=1%"
    copes = "Verify the content by a digest or by TLS: TCP's checksum proves nothing."
    part = "segments"
    places = ((Parameter("share", SHARE, "SHARE"),),)
    ways = ("in", "out")
    needed = 1

    def install(self, port: Port) -> None:
        """Flip the bits of the middle octet."""

        def damaged(packet: Packet) -> Packet:
            payload = bytearray(_fields(packet).payload)
            payload[len(payload) // 2] ^= 0xFF
            return packet.replace(payload=bytes(payload))

        if not self.share:
            return
        port.add(
            port.rules.call,
            damaged,
            direction=self.way,
            probability=self.share,
            where=_carries_data,
        )


@dataclass(frozen=True)
class Urgent(Behaviour):
    """The last octet of each data segment is urgent, and so not in the stream for most programs."""

    name = "urgent"
    summary = "the last octet of each segment is urgent: lost without SO_OOBINLINE"
    example = "urgent"
    copes = "Set SO_OOBINLINE (RFC 6093 section 6), or compare lengths."
    part = "segments"

    def install(self, port: Port) -> None:
        """Set the flag, and the pointer behind the last octet."""

        def urgent(packet: Packet) -> Packet:
            _, _, payload, flags = _fields(packet)
            return packet.replace(flags=f"{_without(flags, 'URG')},URG", urgent=len(payload))

        port.add(port.rules.call, urgent, direction="out", where=_carries_data)


@dataclass
class _Sent:
    """The sequence number behind all that the client has sent; None before its first segment."""

    end: int | None = field(default=None)


@dataclass(frozen=True)
class KeepAliveDeaf(Behaviour):
    """Keep-alives are not answered; data are."""

    name = "keep-alive-deaf"
    summary = "TCP keep-alives are not answered: ETIMEDOUT; data are"
    example = "keep-alive-deaf"
    copes = "Reconnect after ETIMEDOUT."
    part = "segments"

    def install(self, port: Port) -> None:
        """Drop what begins one octet before what the client has to send (RFC 9293 3.8.4)."""
        sent = PerConnection(_Sent)

        def is_keep_alive(packet: Packet) -> bool:
            state = sent.of(packet)
            seq, _, payload, names = _fields(packet)
            flags = names.split(",")
            length = len(payload) + ("SYN" in flags) + ("FIN" in flags)
            before = None if state.end is None else (state.end - 1) % _MODULUS
            if seq == before and not length and "RST" not in flags:
                return True
            end = (seq + length) % _MODULUS
            if state.end is None or (end - state.end) % _MODULUS < _MODULUS // 2:
                state.end = end
            return False

        port.add(port.rules.drop, direction="in", where=is_keep_alive)


class _Fields(NamedTuple):
    seq: int
    ack: int
    payload: bytes
    flags: str


def _fields(packet: Packet) -> _Fields:
    """Return the fields of a TCP segment."""
    seq, ack, payload, flags = packet.seq, packet.ack, packet.payload, packet.flags
    assert seq is not None
    assert ack is not None
    assert payload is not None
    assert flags is not None
    return _Fields(seq, ack, payload, flags)


def _without_options(packet: Packet) -> Packet:
    return packet.replace(options=b"")


def _with_wrong_ack(packet: Packet) -> Packet:
    return packet.replace(ack=_fields(packet).ack + _NEVER_SENT)


def _carries_data(packet: Packet) -> bool:
    return bool(packet.payload)


def _has_three_octets(packet: Packet) -> bool:
    return len(packet.payload or b"") > 2


def _without(flags: str, flag: str) -> str:
    return ",".join(each for each in flags.split(",") if each != flag)
