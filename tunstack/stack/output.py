"""Packets out of a stack, and observations of packets in and out."""

from __future__ import annotations

import errno
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from tunstack.ip.errors import os_error
from tunstack.ip.family import IPV4, family_of
from tunstack.ip.fragmentation import Identifications, fragmented, headers_of
from tunstack.stack.observation import Observation, Windows
from tunstack.tcp.connection.state import ESTABLISHED
from tunstack.wire import (
    NOTHING_OFFLOADED,
    VNET_SIZE,
    completed,
    encode_datagram,
    encode_segment,
    read_name,
)
from tunstack.wire.fast import segment as lean
from tunstack.wire.fast import segment6 as lean6

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Container
    from random import Random

    from tunstack.ip.datagram import Address, Buffer, Datagram
    from tunstack.ip.demux import FourTuple
    from tunstack.ip.flow_label import FlowLabels
    from tunstack.stack.flow import Flow
    from tunstack.tcp.config import Config
    from tunstack.tcp.connection.fast_path import Write
    from tunstack.tcp.segment import Segment
    from tunstack.wire import Reason

_ESTABLISHED: Final = ESTABLISHED.value
_UNLIMITED: Final = 1 << 30
"""The initial slow start threshold."""
_SMALL: Final = 2048
"""Octets of data up to which it is copied behind the headers."""
MOST_LOOPED: Final = 16 << 20
"""Octets of packets to our own addresses that may be queued; more are dropped.

They are not accounted as memory of connections.
"""
COUNTERS: Final[tuple[str, ...]] = ("datagrams_fragmented", "fragments_sent")


class Output:
    """Builds packets, queues them, and reports them to the tap.

    Attributes:
        packets: Packets for the link, each as the buffers that make it up.
        looped: Packets to our own addresses.
        sent: How many packets were sent.
        tap: Called with an observation of each packet, or of those of chosen connections; set by
            :meth:`set_tap`.
        epoch: What to add to the clock for the time of observations, in seconds.
        counters: The stack's.
        labels: The flow labels of IPv6.
    """

    def __init__(
        self,
        local: Container[Address],
        counters: Counter[str],
        tap: Callable[[Observation], None] | None,
        *,
        mtu: int,
        rng: Random,
        labels: FlowLabels,
        offload: bool,
    ) -> None:
        """Create it for a stack with the addresses `local`."""
        self.packets: deque[list[Buffer]] = deque()
        self.looped: deque[bytes] = deque()
        self._looped_size = 0
        self.sent = 0
        self.tap = tap
        self._chosen: frozenset[FourTuple] | None = None
        self._chosen_names: frozenset[bytes] = frozenset()
        """In packets of both directions."""
        self.epoch = 0.0
        self.counters = counters
        self.labels = labels
        self._local = local
        self._mtu = mtu
        self._offload = offload
        self._ip_at = VNET_SIZE if offload else 0
        self._identifications = Identifications(rng)

    def send(
        self,
        name: FourTuple,
        segment: Segment,
        now: float,
        flow: Flow | None = None,
        *,
        config: Config,
    ) -> None:
        """Send a segment of `flow`, or without a connection (RST, SYN cookie)."""
        if (
            flow is not None
            and flow.write is not None
            and (self.tap is None or not self.observes(name))
            and segment.lean
        ):
            assert segment.ts_val is not None
            flow.write(
                segment.seq,
                segment.ack,
                segment.flags,
                segment.wnd,
                segment.ts_val,
                segment.ts_ecr,
                segment.payload,
                segment.gso_size,
                now,
            )
            return
        packet = encode_segment(
            name.local,
            name.remote,
            name.local_port,
            name.remote_port,
            segment,
            offload=self._offload,
            ttl=config.ttl,
            tos=config.tos,
            flow_label=self._label(name) if flow is None else flow.flow_label,
        )
        if segment.note:
            self.counters[segment.note] += 1
        if flow is None or self.tap is None or not self.observes(name):
            self.emit(name.remote, packet, now, segment.note)
        else:
            before, after = flow.observed.value, flow.state.value
            self.emit(name.remote, packet, now, segment.note, before, after, _windows(flow))
            flow.observed = flow.state

    def send_datagram(
        self,
        datagram: Datagram,
        now: float,
        *,
        vnet: bytes = NOTHING_OFFLOADED,
        mtu: int | None = None,
    ) -> None:
        """Send a datagram, in fragments if it is larger than the path's MTU.

        Args:
            datagram: What to send; its `identification` is set here. With `dont_fragment` it is
                not fragmented, here or on its way.
            now: Seconds.
            vnet: The virtio header, on a link that has them: of a packet that the link cuts itself,
                which may have any size, or whose checksum it fills in, unless it is fragmented.
            mtu: Octets of a packet that the path carries; the link's are never exceeded.

        Raises:
            OSError: EMSGSIZE: it would have to be fragmented, and must not, or it is longer than
                its family allows.
        """
        most = self._mtu
        if mtu is not None:
            most = max(min(mtu, most), family_of(datagram.src).minimum_mtu)
        large = headers_of(datagram) + len(datagram.payload) > most and not vnet[1]
        if large and datagram.dont_fragment:
            raise os_error(errno.EMSGSIZE)
        self._identifications.identify(datagram, in_fragments=large)
        try:
            packet = encode_datagram(datagram)
            parts = fragmented(_with_checksum(datagram, packet, vnet), most) if large else []
        except ValueError:
            raise os_error(errno.EMSGSIZE) from None
        if not large:
            if self._offload:
                packet.insert(0, vnet)
            self.emit(datagram.dst, packet, now)
            return
        self.counters["datagrams_fragmented"] += 1
        self.counters["fragments_sent"] += len(parts)
        for part in parts:
            packet = encode_datagram(part)
            if self._offload:
                packet.insert(0, NOTHING_OFFLOADED)
            self.emit(datagram.dst, packet, now)

    def _label(self, name: FourTuple) -> int:
        """The flow label of a segment of no connection: as that of its four-tuple's would be."""
        if len(name.local) == IPV4.address_size:
            return 0
        return self.labels.label(name.packed)

    def label_of(self, src: Address, dst: Address) -> int:
        """Return the flow label of datagrams without ports, as ICMP's; 0 for IPv4."""
        return 0 if len(src) == IPV4.address_size else self.labels.label(src + dst)

    def emit(
        self,
        dst: Address,
        packet: list[Buffer],
        now: float,
        note: str = "",
        before: str | None = None,
        after: str | None = None,
        windows: Windows | None = None,
    ) -> None:
        """Queue a packet; the other arguments are for the tap."""
        self.sent += 1
        if dst in self._local:
            self._loop(b"".join(packet))
        else:
            self.packets.append(packet)
        if self.tap is not None and self._is_observed(packet[0], self._ip_at):
            whole = self._whole(b"".join(packet))
            self.tap(Observation(self.epoch + now, "out", whole, before, after, note, windows))

    def set_tap(
        self,
        tap: Callable[[Observation], None] | None,
        connections: frozenset[FourTuple] | None = None,
    ) -> None:
        """Set the tap; with `connections` it sees their segments only.

        Other connections stay on the fast path then.
        """
        self.tap = tap
        self._chosen = connections
        names = () if connections is None else connections
        self._chosen_names = frozenset(
            each for name in names for each in (name.packed, name.incoming)
        )

    @property
    def observes_all(self) -> bool:
        """Whether every packet is observed."""
        return self.tap is not None and self._chosen is None

    def observes(self, name: FourTuple) -> bool:
        """Whether the segments of a connection are observed, if there is a tap."""
        return self._chosen is None or name in self._chosen

    def _is_observed(self, frame: Buffer, at: int) -> bool:
        """Whether a packet is observed, if there is a tap; it begins at `at`, with its headers."""
        return self._chosen is None or read_name(frame, at) in self._chosen_names

    def observe(self, observation: Observation) -> None:
        """Report what was observed elsewhere to the tap."""
        if self.tap is not None and self._is_observed(observation.packet, 0):
            self.tap(observation)

    def _loop(self, packet: bytes) -> None:
        if self._looped_size + len(packet) > MOST_LOOPED:
            self.counters["lost_to_full_link"] += 1
            return
        self._looped_size += len(packet)
        self.looped.append(packet)

    def take_looped(self) -> bytes:
        """Remove and return the first packet to our own addresses."""
        packet = self.looped.popleft()
        self._looped_size -= len(packet)
        return packet

    def observe_in(
        self,
        packet: Buffer,
        now: float,
        verdict: str,
        before: str | None = None,
        after: str | None = None,
        flow: Flow | None = None,
    ) -> None:
        """Report a received packet, its verdict and its connection to the tap."""
        if self.tap is not None and self._is_observed(packet, self._ip_at):
            whole, windows = self._whole(packet), None if flow is None else _windows(flow)
            self.tap(
                Observation(self.epoch + now, "in", whole, before, after, str(verdict), windows)
            )

    def drop(self, reason: Reason, packet: Buffer, now: float) -> None:
        """Count a received packet as dropped, and report it: before the ICMP error about it."""
        self.counters[reason] += 1
        self.observe_in(packet, now, f"dropped: {reason.phrase}")

    def _whole(self, frame: Buffer) -> bytes:
        """Return the packet with its checksum, for the tap; large segments stay whole."""
        return completed(frame) if self._offload else bytes(frame)

    def writer(self, name: FourTuple, config: Config, flow_label: int) -> Write:
        """Return the writer of a connection on the fast path, to a remote address.

        `flow_label` is 0 for IPv4.
        """
        return _Writer(self, name, config, flow_label, offload=self._offload).write


def _with_checksum(datagram: Datagram, packet: list[Buffer], vnet: bytes) -> Datagram:
    """Return a datagram that `packet` encodes with the checksum that `vnet` leaves to the link."""
    if not vnet[0]:
        return datagram
    whole = completed(b"".join([vnet, *packet]))
    return replace(datagram, payload=memoryview(whole)[len(packet[0]) :])


def _windows(flow: Flow) -> Windows | None:
    """The congestion control's windows, for observations."""
    sender = flow.sender
    if not sender.synchronized:
        return None
    cwnd, ssthresh = sender.congestion.cwnd, sender.congestion.ssthresh
    return Windows(cwnd, ssthresh if ssthresh < _UNLIMITED else None, sender.mss)


class _Writer:
    """What sends the lean segments of a connection.

    An object, and no function within one, as there is one for each connection: its variables would
    take half a kilobyte more.
    """

    __slots__ = ("_name", "_output", "_template")

    def __init__(
        self, output: Output, name: FourTuple, config: Config, flow_label: int, *, offload: bool
    ) -> None:
        ports = (name.local_port << 16 | name.remote_port).to_bytes(4, "big")
        self._output = output
        self._name = name
        self._template = (
            lean6.Template(
                name.local,
                name.remote,
                ports,
                offload=offload,
                ttl=config.ttl,
                tos=config.tos,
                flow_label=flow_label,
            )
            if flow_label
            else lean.Template(
                name.local, name.remote, ports, offload=offload, ttl=config.ttl, tos=config.tos
            )
        )

    def write(
        self,
        seq: int,
        ack: int,
        flags: int,
        wnd: int,
        ts_val: int,
        ts_ecr: int,
        data: Buffer,
        gso_size: int,
        now: float,
    ) -> None:
        """Send a segment."""
        header = self._template.headers(seq, ack, flags, wnd, ts_val, ts_ecr, data, gso_size)
        packet: list[Buffer] = [header + data] if len(data) < _SMALL else [header, data]
        output = self._output
        if output.tap is None or not output.observes(self._name):
            output.sent += 1
            output.packets.append(packet)
        else:
            output.emit(self._name.remote, packet, now, "", _ESTABLISHED, _ESTABLISHED)
