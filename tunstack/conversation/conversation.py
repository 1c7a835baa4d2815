"""A conversation by hand: expect a segment, send a segment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NoReturn, final

from tunstack.conversation.expectation import Expectation, Wanted
from tunstack.conversation.failure import WIDTH, ConversationError, failure_text
from tunstack.conversation.options import option_octets
from tunstack.path.rules.flags import flag_bits
from tunstack.path.rules.packet import Packet
from tunstack.tcp.segment import ACK

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tunstack.conversation.exchange import End, Exchange
    from tunstack.conversation.expectation import Field
    from tunstack.conversation.segment import TcpSegment

WITHIN: Final = 5.0
"""Seconds, by default, within which a segment must come: a busy machine is slow."""


@final
class Conversation:
    """One TCP conversation of which a script sends every segment, and expects those that come.

    :func:`tunstack.open_conversation` opens it. Numbers are relative: 0 is the SYN of the side that
    sends them, 1 its first octet. Nothing is sent unless the script does: no ACK, no
    retransmission; and no segment that comes is skipped.

    Args:
        exchange: Its state.
        active: Whether the script sends the first SYN.
        mtu: The largest packet that the link carries, in octets.
        remarks: Returns what else came, for a failure's text.
        forget: Called at its end.
    """

    def __init__(
        self,
        exchange: Exchange,
        *,
        active: bool,
        mtu: int,
        remarks: Callable[[], list[str]],
        forget: Callable[[], None],
    ) -> None:
        self._exchange = exchange
        self._active = active
        self._mtu = mtu
        self._remarks = remarks
        self._forget = forget

    def __repr__(self) -> str:
        exchange = self._exchange
        if exchange.local is None or exchange.remote is None:
            return "<tunstack.Conversation, no SYN has come>"
        (local, port), (remote, remote_port) = exchange.local, exchange.remote
        return f"<tunstack.Conversation {local} port {port} with {remote} port {remote_port}>"

    @property
    def local(self) -> End | None:
        """The host's address and port; None before the first SYN has come."""
        return self._exchange.local

    @property
    def remote(self) -> End | None:
        """The other side's address and port; None before its SYN has come."""
        return self._exchange.remote

    def ladder(self, *, width: int = WIDTH) -> str:
        """The packets so far as ``tunstack trace`` prints them, the other side on the left.

        Args:
            width: Characters of a line.
        """
        return self._exchange.ladder(width=width)

    # In

    async def receive(self, *, within: float = WITHIN) -> TcpSegment:
        """Return the next segment, whatever it is.

        Args:
            within: Seconds to wait for it.

        Raises:
            ConversationError: None came.
            trio.ClosedResourceError: The conversation has ended.
        """
        return await self._next(Expectation(None, {}), within)

    async def expect(
        self,
        flags: str | None = None,
        *,
        within: float = WITHIN,
        seq: Wanted[int] | None = None,
        ack: Wanted[int] | None = None,
        payload: Wanted[bytes] | None = None,
        window: Wanted[int] | None = None,
        urgent: Wanted[int] | None = None,
        mss: Wanted[int] | None = None,
        window_scale: Wanted[int] | None = None,
        sack_permitted: bool | None = None,
        timestamps: bool | Wanted[tuple[int, int]] | None = None,
        sack: Wanted[Sequence[tuple[int, int]]] | None = None,
        options: Wanted[bytes] | None = None,
        where: Callable[[TcpSegment], bool] | None = None,
    ) -> TcpSegment:
        """Return the next segment, which must be like this.

        What is not given may have any value. What is given is a value, or a function that returns
        whether the segment's value will do.

        Args:
            flags: The flags that are set, all others not: ``"SYN,ACK"``. PSH may be set or not
                unless it is named.
            within: Seconds to wait for it.
            seq: The relative sequence number, modulo 2**32.
            ack: The relative acknowledgment number, likewise.
            payload: The data.
            window: The window field, not scaled.
            urgent: The urgent pointer.
            mss: The MSS option.
            window_scale: The window scale option.
            sack_permitted: Whether there is a SACK-permitted option.
            timestamps: TSval and TSecr; True and False for any and for no timestamps.
            sack: SACK blocks, as pairs of relative numbers.
            options: All options, as they stand on the wire.
            where: Tells whether the whole segment will do.

        Raises:
            ConversationError: Another segment came, or none.
            ValueError: There is no such flag.
            trio.ClosedResourceError: The conversation has ended.
        """
        wanted = {
            "seq": seq,
            "ack": ack,
            "payload": payload,
            "window": window,
            "urgent": urgent,
            "mss": mss,
            "window_scale": window_scale,
            "sack_permitted": sack_permitted,
            "timestamps": timestamps,
            "sack": sack,
            "options": options,
        }
        expectation = Expectation(flags, wanted, where)
        segment = await self._next(expectation, within)
        fields = expectation.compare(segment)
        if any(field.differs for field in fields):
            self._fail(str(expectation), f"but {segment} came", segment, fields)
        return segment

    async def expect_silence(self, within: float) -> None:
        """Wait, and fail if a segment comes, or has come that was not read.

        Args:
            within: Seconds.

        Raises:
            ConversationError: One came.
            trio.ClosedResourceError: The conversation has ended.
        """
        segment = await self._exchange.read(within)
        if segment is not None:
            self._fail(f"silence for {within:g} s", f"but {segment} came", segment)

    async def _next(self, expectation: Expectation, within: float) -> TcpSegment:
        segment = await self._exchange.read(within)
        if segment is None:
            self._fail(f"{expectation} within {within:g} s", "but nothing came")
        return segment

    def _fail(
        self,
        expected: str,
        instead: str,
        came: TcpSegment | None = None,
        fields: Sequence[Field] = (),
    ) -> NoReturn:
        exchange = self._exchange
        at = None if came is None else came.packet.data
        differs = ", ".join(field.name for field in fields if field.differs)
        note = f"differs: {differs}" if differs else f"expected {expected}"
        ladder = exchange.ladder(note=note, at=at)
        remarks = self._remarks()
        if exchange.overflow:
            remarks.append(f"{exchange.overflow} segments were dropped: too many were not read.")
        text = failure_text(f"expected {expected}, {instead}", fields, ladder, remarks)
        raise ConversationError(text, expected=expected, came=came, ladder=ladder)

    # Out

    def send(
        self,
        flags: str = "ACK",
        payload: bytes = b"",
        *,
        seq: int | None = None,
        ack: int | None = None,
        window: int = 0xFFFF,
        urgent: int = 0,
        mss: int | None = None,
        window_scale: int | None = None,
        sack_permitted: bool = False,
        timestamps: bool | tuple[int, int] | None = None,
        sack: Sequence[tuple[int, int]] = (),
        options: bytes | None = None,
        checksum: int | None = None,
        ttl: int = 64,
        tos: int = 0,
    ) -> TcpSegment:
        """Send a segment at once; it need not be right.

        Args:
            flags: The flags that are set: ``"SYN,ACK"``.
            payload: The data.
            seq: The relative sequence number; by default the first that has not been used.
            ack: The relative acknowledgment number; by default, with ACK, that of all that was read
                by :meth:`expect` and :meth:`receive`, up to the first gap.
            window: The window field, not scaled.
            urgent: The urgent pointer.
            mss: The MSS option.
            window_scale: The window scale option.
            sack_permitted: Whether there is a SACK-permitted option.
            timestamps: TSval and TSecr, or True to have them filled in, and False for none; by
                default they are filled in, but not in a SYN or RST, if both SYNs had them.
            sack: SACK blocks, as pairs of relative numbers.
            options: All options as they stand on the wire, padded to whole words: instead of the
                words above, default timestamps included.
            checksum: TCP's checksum, if it is to be this.
            ttl: Time to live, or hop limit.
            tos: The DSCP and ECN octet, or traffic class.

        Returns:
            The segment that was sent.

        Raises:
            ValueError: There is no such flag; a value does not fit into its field, the packet not
                into the MTU; `options` beside words.
            RuntimeError: The SYN of the other side has not come: it is not known where to send to.
            trio.ClosedResourceError: The conversation has ended.
        """
        exchange = self._exchange
        exchange.check_open()
        local, remote = self._ends()
        bits = flag_bits(flags)
        if ack is None:
            ack_number = exchange.theirs.absolute(exchange.theirs.next) if bits & ACK else 0
        else:
            ack_number = exchange.theirs.absolute(ack)
        words: dict[str, Any] = {
            "mss": mss,
            "window_scale": window_scale,
            "sack_permitted": sack_permitted,
            "sack": [tuple(map(exchange.theirs.absolute, block)) for block in sack],
        }
        if options is None:
            stamps = exchange.timestamps(timestamps, bits)
            options = option_octets(timestamps=stamps, **words)
        elif any(value not in (None, False, []) for value in (*words.values(), timestamps)):
            raise ValueError("options= are all options: other options beside them are lost")
        packet = Packet.tcp(
            source=local[0],
            source_port=local[1],
            destination=remote[0],
            destination_port=remote[1],
            flags=flags,
            seq=exchange.ours.absolute(exchange.ours.next if seq is None else seq),
            ack=ack_number,
            window=window,
            urgent=urgent,
            options=options,
            payload=payload,
            checksum=checksum,
            ttl=ttl,
            tos=tos,
        )
        self._check_size(packet)
        return exchange.send(packet)

    def send_icmp(
        self, kind: str, *, about: TcpSegment | None = None, mtu: int | None = None
    ) -> None:
        """Send an ICMP error about a segment that came, as a router or the host would.

        Args:
            kind: As of :meth:`tunstack.Packet.icmp_error`: ``"port-unreachable"``,
                ``"host-unreachable"``, ``"fragmentation-needed"``...
            about: The segment that it quotes; by default the last one that was read.
            mtu: The next hop's, of ``"fragmentation-needed"``.

        Raises:
            ValueError: There is no such error, or no segment that it can be about.
            trio.ClosedResourceError: The conversation has ended.
        """
        exchange = self._exchange
        exchange.check_open()
        about = exchange.latest if about is None else about
        if about is None:
            raise ValueError("no segment was read that an ICMP error can be about")
        if about.direction == "out":
            raise ValueError("an ICMP error is about a segment that came, and this one was sent")
        exchange.send_other(about.packet.icmp_error(kind, mtu=mtu))

    def _ends(self) -> tuple[End, End]:
        exchange = self._exchange
        if exchange.local is None or exchange.remote is None:
            raise RuntimeError("no SYN has come yet: expect it, then it is known where to send to")
        return exchange.local, exchange.remote

    def _check_size(self, packet: Packet) -> None:
        if len(packet.data) > self._mtu:
            size = len(packet.data)
            raise ValueError(f"a packet of {size} octets is larger than the MTU, {self._mtu}")

    # Both

    async def handshake(
        self,
        *,
        within: float = WITHIN,
        window: int = 0xFFFF,
        mss: int | None = None,
        window_scale: int | None = None,
        sack_permitted: bool = False,
        timestamps: bool = False,
    ) -> TcpSegment:
        """Open the connection in three segments: answer a client's SYN, or send the SYN.

        Args:
            within: Seconds for each segment to come.
            window: The window field of what is sent, not scaled.
            mss: The option of our SYN.
            window_scale: Likewise.
            sack_permitted: Likewise.
            timestamps: Likewise.

        Returns:
            The SYN of the other side.

        Raises:
            ConversationError: The other side does otherwise.
            trio.ClosedResourceError: The conversation has ended.
        """
        options: dict[str, Any] = {
            "mss": mss,
            "window_scale": window_scale,
            "sack_permitted": sack_permitted,
            "timestamps": timestamps,
        }
        if self._active:
            self.send("SYN", window=window, **options)
            syn = await self.expect("SYN,ACK", within=within, ack=1)
            self.send("ACK", window=window)
            return syn
        syn = await self.expect("SYN", within=within)
        self.send("SYN,ACK", window=window, **options)
        await self.expect("ACK", within=within, seq=1, ack=1, payload=b"")
        return syn

    # The end

    def close(self, *, reset: bool = True) -> None:
        """End the conversation; the end of the block that opened it does so as well.

        Args:
            reset: Whether to reset the other side, if its side of the connection is still open.
        """
        self._exchange.end(reset=reset)
        self._forget()
