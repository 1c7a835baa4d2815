"""A packet as rules see it: one IP packet as a wire carries it, immutable."""

from __future__ import annotations

import dataclasses
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, final

from tunstack.ip.datagram import ICMP, ICMPV6, TCP, UDP, Datagram
from tunstack.ip.demux import FourTuple
from tunstack.path.rules import headers
from tunstack.path.rules.fields import COMMON_FIELDS, TRANSPORT_FIELDS, checked, ends, packed
from tunstack.path.rules.headers import Icmp, Tcp, Udp
from tunstack.path.rules.icmp_errors import error_message, is_answered
from tunstack.tcp.segment import ACK, FIN, RST, SYN, flag_names
from tunstack.tcp.sequence import MASK
from tunstack.wire import encode_datagram, icmp_datagram

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address

    from tunstack.ip.datagram import Address
    from tunstack.path.rules.headers import Transport
    from tunstack.path.rules.known import Known, Lookup
    from tunstack.tcp.info import TcpInfo

Direction: TypeAlias = Literal["in", "out"]
OTHER_WAY: Final[dict[Direction, Direction]] = {"in": "out", "out": "in"}

PROTOCOL_NAMES: Final = {ICMP: "icmp", TCP: "tcp", UDP: "udp", ICMPV6: "icmpv6"}

_SHORTEST_MARK: Final = 1 << 31


@final
class Packet:
    """One IP packet as a wire carries it; a large segment (TSO) is segmented before.

    It is immutable: :meth:`replace` returns another. Its fields are read when they are asked for.
    A field that it does not have is None. Of a fragment only the first has ports, and none has
    what lies behind them; a packet that is no valid IP has `data` and `direction` alone.

    Attributes:
        data: The whole packet.
        direction: "in" to the host, "out" from it.
    """

    __slots__ = ("_lookup", "_parts", "data", "direction")

    data: bytes
    direction: Direction
    _lookup: Lookup | None
    _parts: tuple[Datagram | None, Transport | None] | None

    def __init__(self, data: bytes, direction: Direction, *, lookup: Lookup | None = None) -> None:
        """Make it of the octets of an IP packet; `lookup` finds its connection."""
        if direction not in OTHER_WAY:
            raise ValueError(f'direction must be "in" or "out", not {direction!r}')
        set_ = object.__setattr__
        set_(self, "data", data)
        set_(self, "direction", direction)
        set_(self, "_lookup", lookup)
        set_(self, "_parts", None)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a Packet is immutable: packet.replace({name}=...) returns another")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Packet):
            return NotImplemented
        return (self.data, self.direction) == (other.data, other.direction)

    def __hash__(self) -> int:
        return hash((self.data, self.direction))

    def __repr__(self) -> str:
        return f"<tunstack.Packet {self.direction} {self.summary}>"

    @property
    def summary(self) -> str:
        """One line: ``"tcp 198.51.100.1:4711 > 198.51.100.2:80 SYN seq 1 win 64240"``."""
        if self._datagram is None:
            return f"no IP packet, {len(self.data)} octets"
        ends = []
        for address, port in (
            (self.source, self.source_port),
            (self.destination, self.destination_port),
        ):
            text = f"[{address}]" if self.version == 6 and port is not None else str(address)
            ends.append(text if port is None else f"{text}:{port}")
        words = [str(self.protocol), " > ".join(ends)]
        transport = self._transport
        if isinstance(transport, Tcp):
            words += [self.flags or "none", f"seq {transport.seq}"]
            words += [f"ack {transport.ack}"] if transport.flags & ACK else []
            words.append(f"win {transport.window}")
        elif isinstance(transport, Icmp):
            words.append(f"type {transport.icmp_type} code {transport.icmp_code}")
        if self.payload:
            words.append(f"{len(self.payload)} octets")
        return " ".join(words)

    # Fields

    def _read(self) -> tuple[Datagram | None, Transport | None]:
        parts = self._parts
        if parts is None:
            parts = headers.read(self.data)
            object.__setattr__(self, "_parts", parts)
        return parts

    @property
    def _datagram(self) -> Datagram | None:
        return self._read()[0]

    @property
    def _transport(self) -> Transport | None:
        return self._read()[1]

    def _field(self, name: str) -> Any:
        return getattr(self._read()[1], name, None)

    @property
    def version(self) -> int | None:
        """4 or 6."""
        datagram = self._datagram
        return None if datagram is None else 4 if len(datagram.src) == 4 else 6

    @property
    def source(self) -> IPv4Address | IPv6Address | None:
        """The source address."""
        datagram = self._datagram
        return None if datagram is None else ip_address(datagram.src)

    @property
    def destination(self) -> IPv4Address | IPv6Address | None:
        """The destination address."""
        datagram = self._datagram
        return None if datagram is None else ip_address(datagram.dst)

    @property
    def ttl(self) -> int | None:
        """Time to live, or IPv6's hop limit."""
        datagram = self._datagram
        return None if datagram is None else datagram.ttl

    @property
    def tos(self) -> int | None:
        """The DSCP and ECN octet: type of service, or traffic class."""
        datagram = self._datagram
        return None if datagram is None else datagram.tos

    @property
    def protocol(self) -> str | None:
        """``"tcp"``, ``"udp"``, ``"icmp"``, ``"icmpv6"``, or another's number as text."""
        datagram = self._datagram
        if datagram is None:
            return None
        return PROTOCOL_NAMES.get(datagram.protocol, str(datagram.protocol))

    @property
    def is_fragment(self) -> bool:
        """Whether it is a fragment of a datagram, not the whole."""
        datagram = self._datagram
        return datagram is not None and bool(datagram.more_fragments or datagram.fragment_offset)

    @property
    def ports(self) -> tuple[int, int] | None:
        """Source and destination port of TCP and UDP."""
        datagram = self._datagram
        return None if datagram is None else headers.ports(datagram)

    @property
    def source_port(self) -> int | None:
        """Of TCP and UDP."""
        ports = self.ports
        return None if ports is None else ports[0]

    @property
    def destination_port(self) -> int | None:
        """Of TCP and UDP."""
        ports = self.ports
        return None if ports is None else ports[1]

    @property
    def seq(self) -> int | None:
        """TCP: SEG.SEQ."""
        return self._field("seq")  # type: ignore[no-any-return]

    @property
    def ack(self) -> int | None:
        """TCP: SEG.ACK, whether or not the ACK bit is set."""
        return self._field("ack")  # type: ignore[no-any-return]

    @property
    def flags(self) -> str | None:
        """TCP: the names of the control bits that are set: ``"SYN,ACK"``; ``""`` for none."""
        bits = self.flag_bits
        return None if bits is None else flag_names(bits) if bits else ""

    @property
    def flag_bits(self) -> int | None:
        """TCP: the control bits."""
        return self._field("flags")  # type: ignore[no-any-return]

    @property
    def window(self) -> int | None:
        """TCP: the window field, 16 bits, not scaled."""
        return self._field("window")  # type: ignore[no-any-return]

    @property
    def urgent(self) -> int | None:
        """TCP: the urgent pointer."""
        return self._field("urgent")  # type: ignore[no-any-return]

    @property
    def options(self) -> bytes | None:
        """TCP: the options as they stand in the header."""
        return self._field("options")  # type: ignore[no-any-return]

    @property
    def payload(self) -> bytes | None:
        """What TCP or UDP carries; of ICMP what follows the header of 8 octets."""
        return self._field("payload")  # type: ignore[no-any-return]

    @property
    def checksum(self) -> int | None:
        """The checksum field of TCP, UDP or ICMP, right or not."""
        return self._field("checksum")  # type: ignore[no-any-return]

    @property
    def icmp_type(self) -> int | None:
        """ICMP and ICMPv6: the type."""
        return self._field("icmp_type")  # type: ignore[no-any-return]

    @property
    def icmp_code(self) -> int | None:
        """ICMP and ICMPv6: the code."""
        return self._field("icmp_code")  # type: ignore[no-any-return]

    # Its connection

    @property
    def four_tuple(self) -> FourTuple | None:
        """The two sockets of its connection, addresses packed; None of what has no ports."""
        datagram, ports = self._datagram, self.ports
        if datagram is None or ports is None:
            return None
        if self.direction == "out":
            return FourTuple(datagram.src, ports[0], datagram.dst, ports[1])
        return FourTuple(datagram.dst, ports[1], datagram.src, ports[0])

    @property
    def local(self) -> tuple[IPv4Address | IPv6Address, int] | None:
        """The host's address and port, of what has ports."""
        ends = self.four_tuple
        return None if ends is None else (ip_address(ends.local), ends.local_port)

    @property
    def remote(self) -> tuple[IPv4Address | IPv6Address, int] | None:
        """The peer's address and port, of what has ports."""
        ends = self.four_tuple
        return None if ends is None else (ip_address(ends.remote), ends.remote_port)

    @property
    def _known(self) -> Known | None:
        lookup = self._lookup
        if lookup is None or self.protocol != "tcp":
            return None
        ends = self.four_tuple
        return None if ends is None else lookup(ends)

    @property
    def connection(self) -> TcpInfo | None:
        """The host's TCP connection as it is now; None if it has none."""
        known = self._known
        return None if known is None else known.info()

    @property
    def state(self) -> str | None:
        """The state of that connection now, by RFC 9293's name; None if there is none."""
        known = self._known
        return None if known is None else known.state

    @property
    def offset(self) -> int | None:
        """TCP: which octet of its direction's stream the first one of the payload is, from 0.

        It is known while the host has the connection, TIME-WAIT not included, and of every SYN. A
        keep-alive may have one below 0.
        """
        tcp = self._transport
        if not isinstance(tcp, Tcp):
            return None
        if tcp.flags & SYN:
            return 0
        known = self._known
        if known is None:
            return None
        stream = known.sent if self.direction == "out" else known.received
        if stream is None:
            return None
        first, near = stream
        # Of all offsets with this sequence number that which is the nearest to `near`.
        ahead = tcp.seq - first - near & MASK
        return near + (ahead - (MASK + 1) if ahead >= _SHORTEST_MARK else ahead)

    # Other packets

    def replace(self, **fields: Any) -> Packet:
        """Return a packet with other fields, its lengths and checksums right.

        Args:
            fields: `source`, `destination` (addresses or text), `ttl`, `tos`; of TCP
                `source_port`, `destination_port`, `seq`, `ack` (both modulo 2**32), `flags`
                (``"SYN,ACK"``), `window`, `urgent`, `options`, `payload`; of UDP the ports and
                `payload`; of ICMP `icmp_type`, `icmp_code`, `rest` (the second word of the header)
                and `payload`. `checksum` is that of TCP, UDP or ICMP, right or wrong.

        Raises:
            ValueError: a field that it does not have, or a value that does not fit in.
        """
        datagram, transport = self._read()
        if datagram is None:
            raise ValueError("what is no valid IP packet has no fields to replace")
        known = self._replaceable()
        for name in fields:
            if name not in known:
                raise ValueError(f"{self._kind} has no field {name!r}: it has {', '.join(known)}")
        values = {name: checked(name, value) for name, value in fields.items()}
        checksum = values.pop("checksum", None)
        changed = _with_ip_fields(datagram, values)
        if transport is None:
            if changed.src + changed.dst != datagram.src + datagram.dst:
                raise ValueError(f"{self._kind} keeps its addresses: a checksum covers them")
        else:
            inner = {name: values[name] for name in values if name not in COMMON_FIELDS}
            transport = dataclasses.replace(transport, **inner)
            changed.payload = headers.write(changed.src, changed.dst, transport, checksum)
        return self.with_data(b"".join(encode_datagram(changed)))

    def _replaceable(self) -> tuple[str, ...]:
        datagram, transport = self._read()
        return (
            () if datagram is None else (*COMMON_FIELDS, *TRANSPORT_FIELDS.get(type(transport), ()))
        )

    @property
    def fields(self) -> frozenset[str]:
        """The fields that :meth:`replace` can replace."""
        return frozenset(self._replaceable())

    @property
    def _kind(self) -> str:
        return f"a {self.protocol} {'fragment' if self.is_fragment else 'packet'}"

    def with_data(self, data: bytes) -> Packet:
        """Return a packet of other octets, whatever they are, in the same direction."""
        return Packet(data, self.direction, lookup=self._lookup)

    def going(self, direction: Direction) -> Packet:
        """Return the same packet in this direction."""
        if direction == self.direction:
            return self
        return Packet(self.data, direction, lookup=self._lookup)

    def reset(self) -> Packet:
        """Return the RST that answers this segment (RFC 9293 section 3.10.7.1).

        Raises:
            ValueError: it is no TCP segment, or a RST itself.
        """
        datagram, tcp = self._read()
        if datagram is None or not isinstance(tcp, Tcp):
            raise ValueError(f"{self._kind} is not answered by a RST: it is no TCP segment")
        if tcp.flags & RST:
            raise ValueError("a RST is not answered by a RST")
        length = len(tcp.payload) + bool(tcp.flags & SYN) + bool(tcp.flags & FIN)
        with_ack = tcp.flags & ACK
        answer = Packet.tcp(
            source=datagram.dst,
            destination=datagram.src,
            source_port=tcp.destination_port,
            destination_port=tcp.source_port,
            seq=tcp.ack if with_ack else 0,
            ack=0 if with_ack else tcp.seq + length,
            flags="RST" if with_ack else "RST,ACK",
            window=0,
            direction=OTHER_WAY[self.direction],
        )
        return Packet(answer.data, answer.direction, lookup=self._lookup)

    def icmp_error(
        self, kind: str, *, mtu: int | None = None, source: object | None = None
    ) -> Packet:
        """Return the ICMP error about this packet, which quotes it.

        Args:
            kind: ``"network-unreachable"``, ``"host-unreachable"``, ``"port-unreachable"``,
                ``"prohibited"``, ``"time-exceeded"``, or ``"fragmentation-needed"`` with an MTU,
                which may stand in brackets: ``"fragmentation-needed(1280)"``. For IPv6 the
                messages of RFC 4443 that stand for these, Packet Too Big for the last.
            mtu: The next hop's, in octets.
            source: Who sends the error; by default this packet's destination.

        Raises:
            ValueError: an unknown kind, no MTU; a packet about which no error may be sent (RFC
                1122 section 3.2.2): another ICMP error, a fragment other than the first, one to a
                multicast address.
        """
        datagram = self._datagram
        if datagram is None:
            raise ValueError("what is no valid IP packet is not answered by an ICMP error")
        message = error_message(datagram, kind, mtu)
        sender = datagram.dst if source is None else packed(source, len(datagram.dst))
        answer = icmp_datagram(sender, datagram.src, message)
        data = b"".join(encode_datagram(answer))
        return Packet(data, OTHER_WAY[self.direction], lookup=self._lookup)

    @property
    def may_have_icmp_error(self) -> bool:
        """Whether :meth:`icmp_error` may answer it."""
        datagram = self._datagram
        return datagram is not None and is_answered(datagram)

    @classmethod
    def tcp(
        cls,
        *,
        source: object,
        destination: object,
        source_port: int,
        destination_port: int,
        flags: str = "ACK",
        seq: int = 0,
        ack: int = 0,
        window: int = 65535,
        urgent: int = 0,
        options: bytes = b"",
        payload: bytes = b"",
        checksum: int | None = None,
        ttl: int = 64,
        tos: int = 0,
        direction: Direction = "out",
    ) -> Packet:
        """Make a TCP segment; lengths and checksums are right, unless `checksum` is given.

        Raises:
            ValueError: addresses of two families, or a value that does not fit in its field.
        """
        src, dst = ends(source, destination)
        fields = {
            name: checked(name, value)
            for name, value in (
                *(("source_port", source_port), ("destination_port", destination_port)),
                *(("seq", seq), ("ack", ack), ("flags", flags), ("window", window)),
                *(("urgent", urgent), ("options", options), ("payload", payload)),
            )
        }
        tcp = Tcp(reserved=0, checksum=0, **fields)
        body = headers.write(src, dst, tcp, checked("checksum", checksum))
        return cls._of(src, dst, TCP, body, ttl, tos, direction)

    @classmethod
    def udp(
        cls,
        *,
        source: object,
        destination: object,
        source_port: int,
        destination_port: int,
        payload: bytes = b"",
        checksum: int | None = None,
        ttl: int = 64,
        tos: int = 0,
        direction: Direction = "out",
    ) -> Packet:
        """Make a UDP datagram; as :meth:`tcp`."""
        src, dst = ends(source, destination)
        ports = checked("source_port", source_port), checked("destination_port", destination_port)
        udp = Udp(*ports, 0, checked("payload", payload))
        body = headers.write(src, dst, udp, checked("checksum", checksum))
        return cls._of(src, dst, UDP, body, ttl, tos, direction)

    @classmethod
    def _of(
        cls,
        src: Address,
        dst: Address,
        protocol: int,
        body: bytes,
        ttl: int,
        tos: int,
        direction: Direction,
    ) -> Packet:
        ttl, tos = checked("ttl", ttl), checked("tos", tos)
        datagram = Datagram(src, dst, protocol, body, ttl=ttl, tos=tos, dont_fragment=True)
        return cls(b"".join(encode_datagram(datagram)), direction)


def _with_ip_fields(datagram: Datagram, values: dict[str, Any]) -> Datagram:
    """Return a copy of the datagram with other fields of its IP header."""
    size = len(datagram.src)
    return dataclasses.replace(
        datagram,
        src=packed(values["source"], size) if "source" in values else datagram.src,
        dst=packed(values["destination"], size) if "destination" in values else datagram.dst,
        ttl=values.get("ttl", datagram.ttl),
        tos=values.get("tos", datagram.tos),
    )


__all__ = ["Direction", "Packet"]
