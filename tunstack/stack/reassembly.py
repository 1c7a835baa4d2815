"""Reassembly of received fragments, with ICMP errors about datagrams that time out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunstack.ip.datagram import TCP
from tunstack.ip.demux import FourTuple
from tunstack.ip.fragments import Fragments, Refused
from tunstack.stack.peers import peer_key
from tunstack.tcp.segment import SYN
from tunstack.wire import (
    NOTHING_OFFLOADED,
    Discard,
    Reason,
    decode_segment,
    encode_datagram,
    finish,
)

if TYPE_CHECKING:
    from tunstack.ip.datagram import Buffer, Datagram
    from tunstack.stack.context import Context
    from tunstack.stack.paths import Paths


class Reassembly:
    """The fragments of incomplete datagrams, of both families.

    Attributes:
        fragments: What is held, and until when: call :meth:`expire` then.
    """

    def __init__(self, context: Context, paths: Paths, *, offload: bool) -> None:
        """Make it empty; `paths` sends Time Exceeded."""
        self.fragments = Fragments(context.limits.fragment_memory, context.counters, peer_key)
        self._counters = context.counters
        self._demux = context.demux
        self._output = context.output
        self._paths = paths
        self._offload = offload

    def expire(self, now: float) -> None:
        """Drop the datagrams that have timed out."""
        for first in self.fragments.expired(now):
            self._paths.reassembly_expired(first, now)

    def fragment_arrives(
        self, fragment: Datagram, frame: Buffer, now: float
    ) -> tuple[Datagram, Buffer] | None:
        """Keep a fragment; returns the datagram that it completes, and the frame to show of it.

        Raises:
            Discard: the fragment is dropped, or the datagram is malformed.
        """
        self._counters["fragments_received"] += 1
        self.expire(now)
        try:
            whole = self.fragments.add(fragment, now)
        except Refused as refused:
            raise Discard(Reason(refused.reason)) from None
        if whole is None:
            self._output.observe_in(frame, now, "fragment kept")
            return None
        self._counters["datagrams_reassembled"] += 1
        whole.trusted, whole.gso_size = False, 0
        datagram = finish(whole)
        forward = self._paths.forward
        if forward is not None:
            # A multi-queue device selects the queue of fragments by their addresses alone.
            packet = encode_datagram(datagram)
            frame = b"".join([NOTHING_OFFLOADED, *packet] if self._offload else packet)
            if self._is_elsewhere(datagram):
                self._output.observe_in(frame, now, "for another process")
                forward(bytes(frame))
                return None
        return datagram, frame

    def _is_elsewhere(self, datagram: Datagram) -> bool:
        """Whether it is a segment of a connection that is not here."""
        if datagram.protocol != TCP:
            return False
        sport, dport, segment = decode_segment(datagram)
        incoming = FourTuple(datagram.dst, dport, datagram.src, sport).incoming
        return not segment.flags & SYN and not (
            incoming in self._demux.incoming or incoming in self._demux.time_waits
        )
