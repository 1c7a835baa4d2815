"""What a test does to a connection, that no peer in order does.

What the wire would do is a rule on the connection's packets (:mod:`tunstack.path.rules`): the
connection itself knows nothing of it, and goes on as if its packets were lost.
"""

from __future__ import annotations

import errno
from ipaddress import ip_address
from struct import Struct
from typing import TYPE_CHECKING, Final, Literal, TypedDict

import trio

from tunstack.path.rules import Packet
from tunstack.socket.surface import Surface
from tunstack.tcp.segment import ACK, FIN, RST, SYN

if TYPE_CHECKING:
    from tunstack.path.rules import Rule, Selection
    from tunstack.socket.state import SocketState
    from tunstack.stack.flow import Flow

_DIRECTIONS: Final = ("both", "in", "out")
_TIMESTAMPS: Final = Struct(">III")
_NOP_NOP_TIMESTAMPS: Final = 0x0101080A
_NO_OPERATION: Final = 1
_SACK_KIND: Final = 5


class SegmentFields(TypedDict, total=False):
    """The fields that :meth:`Verbs.send_segment` takes."""

    seq: int
    ack: int
    flags: str
    payload: bytes
    window: int | None
    urgent: int | None
    options: bytes | None
    checksum: int | None
    ttl: int | None


class Verbs(Surface):
    """The verbs of a TCP socket: silence, closed windows, crafted segments."""

    _state: SocketState

    # Silence

    def vanish(self, direction: Literal["both", "in", "out"] = "both") -> None:
        """Drop all packets of the connection from now on, for ever: the peer sees a dead host.

        No FIN and no RST is sent any more, neither when the socket is closed, which then frees the
        connection at once, nor at the end of the host; nor is anything answered that the peer sends
        later. The peer's retransmissions or keep-alives time out (RFC 9293 section 3.8.3). Another
        connection of the same addresses and ports does not vanish. A host remembers 65,536
        connections that have vanished; beyond that it forgets the one of which it has dropped no
        packet for the longest time.

        Args:
            direction: ``"in"``: only what comes is lost, and what is sent goes out, a FIN or RST
                among it; ``"out"``: the reverse; or both.

        Raises:
            OSError: ENOTCONN; EOPNOTSUPP: it is a connection of the host to itself.
            ValueError: no such direction.
        """
        if direction not in _DIRECTIONS:
            raise ValueError(f'direction must be "both", "in" or "out", not {direction!r}')
        flow, endpoint = self._on_the_wire(), self._state.endpoint
        endpoint.write()  # What was sent before.
        endpoint.silence(flow, ("in", "out") if direction == "both" else (direction,))
        self._state.silent |= direction != "in"

    def stop_acknowledging(self) -> None:
        """Acknowledge nothing of what arrives from now on, until :meth:`resume_acknowledging`.

        Segments without data, SYN, FIN or RST are no longer sent, window updates and keep-alives
        among them. Others have the last acknowledgment number that was sent before, and no SACK
        blocks. The application reads on, and may send. The peer retransmits by and by more slowly,
        and gives up (RFC 9293 section 3.8.3, RFC 6298). Without effect if it was called before.

        Raises:
            OSError: ENOTCONN; EOPNOTSUPP: it is a connection of the host to itself.
        """
        state = self._state
        selection = self._selected()
        if state.unacknowledging is None:
            selection["direction"] = "out"
            held = _Unacknowledging(state.connected())
            held.rule = state.unacknowledging = state.endpoint.rules.call(held, **selection)
            state.endpoint.end_with(state.connected(), held.rule)

    def resume_acknowledging(self) -> None:
        """End :meth:`stop_acknowledging`, and acknowledge at once all that has arrived since.

        Raises:
            OSError: ENOTCONN.
        """
        flow = self._state.connected()
        rule, self._state.unacknowledging = self._state.unacknowledging, None
        if rule is not None:
            rule.remove()
            flow.receiver.ack_now = True
            self._changed()

    def _selected(self) -> Selection:
        """Select the packets of the connection, after those that were sent before are written."""
        flow = self._on_the_wire()
        self._state.endpoint.write()
        name = flow.four_tuple
        return {
            "local": ip_address(name.local),
            "remote": ip_address(name.remote),
            "protocol": "tcp",
            "local_port": name.local_port,
            "remote_port": name.remote_port,
        }

    def _on_the_wire(self) -> Flow:
        """Return the connection.

        Raises:
            OSError: ENOTCONN; EOPNOTSUPP: it is of the host to itself, and passes no wire.
        """
        flow = self._state.connected()
        if flow.loops:
            text = "this connection is of the host to itself, and has no packets on a wire"
            raise OSError(errno.EOPNOTSUPP, text)
        return flow

    # The receive window

    def freeze(self, after: int = 0, *, shrink: bool = False) -> None:
        """Close the receive window after `after` octets more, until :meth:`thaw`.

        What arrives can be read, and the window stays closed. The peer's zero-window probes are
        answered (RFC 9293 section 3.8.6.1). By itself no window shrinks (SHLD-14): what was offered
        before stays offered, and it closes when that is used up, unless `after` is more.

        Args:
            after: Octets from what was received last, rounded up to the unit of the window scale;
                of a peer that sends less than that at a time, up to a unit more are taken.
            shrink: Whether to take back what was offered beyond them, and to tell the peer so at
                once. What it has sent by then is dropped.

        Raises:
            OSError: ENOTCONN.
            ValueError: `after` is negative, or more than a window can be.
        """
        flow = self._state.connected()
        flow.freeze(after, shrink=shrink)
        self._changed()

    def thaw(self) -> None:
        """Open the window again that :meth:`freeze` closed, and send a window update.

        Raises:
            OSError: ENOTCONN.
        """
        flow = self._state.connected()
        flow.thaw()
        self._changed()

    def _changed(self) -> None:
        """Transmit after a change of the connection."""
        state = self._state
        state.endpoint.stack.mark_pending(state.connected())
        state.endpoint.flush()

    # Crafted segments

    def send_segment(
        self,
        *,
        seq: int = 0,
        ack: int = 0,
        flags: str = "ACK",
        payload: bytes = b"",
        window: int | None = None,
        urgent: int | None = None,
        options: bytes | None = None,
        checksum: int | None = None,
        ttl: int | None = None,
    ) -> None:
        """Send a segment as it is described here; the connection's own state does not change.

        The connection sends as if it had not been sent: octets that it has carried are sent again
        in their turn. It goes out whatever the windows allow, and whatever rules there are, those
        of :meth:`vanish` and :meth:`stop_acknowledging` among them. A few, in RFC 9293's terms::

            sock.send_segment(seq=-5, payload=b"OTHER")     # other data for the last five octets
            sock.send_segment(seq=1 << 20, payload=b"far")  # beyond the peer's receive window
            sock.send_segment(ack=1000)                     # acknowledges what was never sent
            sock.send_segment(seq=-1)                       # a keep-alive (section 3.8.4)
            sock.send_segment(payload=b"!", urgent=1)       # urgent data (section 3.8.5)
            sock.send_segment(payload=b"x", checksum=0xBAD)
            sock.send_segment(flags="RST", seq=1)           # a blind reset (RFC 5961 section 3)

        Args:
            seq: Of the first octet, from SND.NXT, so that 0 is what the connection sends next.
            ack: From RCV.NXT; 0 acknowledges what has arrived.
            flags: Control bits: ``"PSH,ACK"``; ``""`` for none.
            payload: Data, with the headers at most the link's MTU.
            window: The window field, not scaled; by default the present one.
            urgent: The urgent pointer, which sets URG.
            options: All options, filled up with zeros to a multiple of four octets, at most 40
                octets; by default timestamps if both sides use them (RFC 7323).
            checksum: The checksum field; by default the right one.
            ttl: Time to live, or hop limit; by default the connection's.

        Raises:
            OSError: ENOTCONN; EOPNOTSUPP: it is a connection of the host to itself.
            ValueError: a value that does not fit in its field, or a packet larger than the MTU.
        """
        flow, endpoint = self._on_the_wire(), self._state.endpoint
        name, config, receiver = flow.four_tuple, flow.config, flow.receiver
        if urgent is not None:
            flags = "URG" if flags in ("", "none") else f"{flags},URG"
        packet = Packet.tcp(
            source=name.local,
            destination=name.remote,
            source_port=name.local_port,
            destination_port=name.remote_port,
            seq=flow.sender.nxt + seq,
            ack=receiver.nxt + ack,
            flags=flags,
            window=receiver.wnd >> receiver.shift if window is None else window,
            urgent=urgent or 0,
            options=_options(flow) if options is None else options,
            payload=payload,
            checksum=checksum,
            ttl=config.ttl if ttl is None else ttl,
            tos=config.tos,
        )
        if len(packet.data) > endpoint.stack.mtu:
            size, most = len(packet.data), endpoint.stack.mtu
            raise ValueError(f"a packet of {size} octets does not fit in the link's MTU of {most}")
        endpoint.write()
        endpoint.rules.inject(packet, "out")


def _options(flow: Flow) -> bytes:
    """Return the options of a segment without SACK blocks."""
    if not flow.timestamps_ok:
        return b""
    ts_val = flow.timestamp(trio.current_time())
    return _TIMESTAMPS.pack(_NOP_NOP_TIMESTAMPS, ts_val, flow.ts_recent)


class _Unacknowledging:
    """The function of a rule on what a connection sends: the acknowledgment number stays.

    Attributes:
        rule: That rule.
    """

    def __init__(self, flow: Flow) -> None:
        self.rule: Rule | None = None
        self._ack = flow.last_ack_sent

    def __call__(self, packet: Packet) -> Packet | None:
        flags = packet.flag_bits
        if flags is None:
            return packet
        if flags & SYN and self.rule is not None:
            self.rule.remove()  # Another connection of the same addresses and ports.
            return packet
        if flags & RST or not flags & ACK:
            return packet
        if not packet.payload and not flags & FIN:
            return None
        return packet.replace(ack=self._ack, options=_without_sack(packet.options or b""))


def _without_sack(options: bytes) -> bytes:
    """Return options with No-Operation in place of SACK blocks; they are well-formed, ours."""
    changed = bytearray(options)
    at = 0
    while at < len(changed):
        kind = changed[at]
        length = 1 if kind <= _NO_OPERATION else changed[at + 1]
        if kind == _SACK_KIND:
            changed[at : at + length] = bytes([_NO_OPERATION]) * length
        at += length
    return bytes(changed)
