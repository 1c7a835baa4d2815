"""The kernel and Wireshark as judges: what a happy application hides, their counters tell.

A :class:`Judge` watches everything that passes between a host and the kernel. After a transfer in
which nothing had to go wrong, :meth:`Judge.acquit` fails if one of them has anything to say: a bad
checksum, a retransmission, a duplicate acknowledgement, data out of order, a reset.
"""

from __future__ import annotations

import re
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import trio

from tests.kernel.ends import IPV4, IPV6
from tunstack import Config
from tunstack.path.pcapng import PcapngWriter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection
    from pathlib import Path

    from tests.kernel.ends import Ends
    from tests.kernel.wireshark import Wireshark
    from tunstack import Host, Namespace, Observation

OURS: Final = IPV4.ours
KERNEL: Final = IPV4.kernel

_INNOCENT: Final = (
    "This frame initiates the connection closing",
    "This frame undergoes the connection closing",
)
_THE_KERNELS_OWN: Final = (*_INNOCENT, "TCP Checksum 0xffff instead of 0x0000")
"""It writes a checksum of zero the other way, which is no error."""

_SUSPICIOUS: Final = re.compile(
    "Abort|Attempt|Challenge|Collapse|Csum|Discard|Drop|DSACK|Err|Fail|Lost|Loss|NoRoute|OFO|"
    "OutOfWindow|Overflow|PAWS|Probe|Prune|Recovery|Reorder|Reset|Retrans|Rsts|RTO|Rto|Skipped|"
    "Spurious|Timeout|Truncated|Undo|Unknown|Unreach"
)
"""In the names of those of the kernel's counters that tell that something went wrong."""

_CONSTANTS: Final = frozenset({"Tcp.RtoAlgorithm", "Tcp.RtoMin", "Tcp.RtoMax"})
"""They stand among the counters."""

_OF_IPV6: Final = re.compile(r"(Ip6|Icmp6|Udp6|UdpLite6)(\w+)\s+(\d+)")
"""A line of /proc/net/snmp6, which has a counter each."""


class Complaint(NamedTuple):
    """What a judge has to say: who is meant (an address, or a counter), what it is, how often."""

    about: str
    what: str
    times: int


class Judge:
    """Watches one namespace and the hosts whose `tap` it is.

    Args:
        namespace: Whose counters are read.
        capture: Where the packets are kept.
        wireshark: Who reads the capture.
        offload: Whether its hosts leave segmentation and checksums to the device.
        ends: The addresses of its hosts and of the kernel, of one family.

    Attributes:
        comments: What the host made of each packet, as it stands in the capture.
    """

    def __init__(
        self,
        namespace: Namespace,
        capture: Path,
        wireshark: Wireshark,
        *,
        offload: bool = True,
        ends: Ends = IPV4,
    ) -> None:
        self._namespace = namespace
        self._offload = offload
        self._ends = ends
        self._capture = capture
        self._wireshark = wireshark
        self._writer = PcapngWriter(capture)
        self.comments: list[str] = []

    @asynccontextmanager
    async def open_host(
        self,
        address: str | None = None,
        *,
        mtu: int = 1500,
        rto_min: int = 10,
        offload: bool | None = None,
        **parameters: Any,
    ) -> AsyncIterator[Host]:
        """Run a host that is watched, until the end of the block.

        Args:
            address: The host's; by default ours of the judge's family.
            mtu: Of its device.
            rto_min: Seconds before either side sends anything again. By themselves they take 0.2,
                for which a machine that is busy with other tests may be too slow: that tells
                nothing about TCP. 0 to leave it at that.
            offload: Whether segmentation and checksums are left to the device; by default as the
                judge has it.
            parameters: Of `Config`, where the host differs from the default.
        """
        if rto_min:
            parameters = {"rto_min": float(rto_min), "tail_loss_probe": False, **parameters}
        config, namespace = Config(**parameters), self._namespace
        async with namespace.open_host(
            address or self._ends.address,
            mtu=mtu,
            tap=self.tap,
            config=config,
            offload=self._offload if offload is None else offload,
        ) as host:
            if rto_min:
                network = host.addresses[0].network
                route = ["ip", "route", "change", str(network), "dev", host.name]
                if network.version == 4:
                    route += ["scope", "link"]
                else:  # It is that of the address, which these two tell.
                    route += ["proto", "kernel", "metric", "256"]
                await namespace.run_process([*route, "rto_min", f"{rto_min}s"])
            yield host

    def tap(self, seen: Observation) -> None:
        """Take note of a packet."""
        self.comments.append(seen.comment.partition(";")[0])
        self._writer.write(seen.packet, seen.time, seen.comment, seen.direction == "out")

    async def acquit(self, *, but_for: Collection[str] = ()) -> None:
        """Fail if there is a complaint, other than those `but_for` which it is: parts of them."""
        complaints = [*await self.counters(), *await self.expert()]
        found = [
            complaint
            for complaint in complaints
            if not any(part in f"{complaint.about} {complaint.what}" for part in but_for)
        ]
        assert not found, "\n".join(map(str, found))

    async def kernel(self) -> dict[str, int]:
        """The namespace's counters (``"Tcp.InErrs"``), as nstat(8) reads them."""
        result = await self._namespace.run_process(
            ["cat", "/proc/net/snmp", "/proc/net/netstat", "/proc/net/snmp6"], capture_stdout=True
        )
        text = result.stdout.decode()
        counts = {f"{group}.{name}": int(count) for group, name, count in _OF_IPV6.findall(text)}
        lines = [line for line in text.splitlines() if not _OF_IPV6.match(line)]
        for names, values in zip(lines[::2], lines[1::2], strict=True):
            group, _, rest = names.partition(":")
            for name, value in zip(rest.split(), values.split()[1:], strict=True):
                counts[f"{group}.{name}"] = int(value)
        return counts

    async def counters(self) -> list[Complaint]:
        """Those of the kernel that should be zero and are not."""
        counts = await self.kernel()
        return [
            Complaint(name, "is not zero", counts[name])
            for name in sorted(counts.keys() - _CONSTANTS)
            if counts[name] and _SUSPICIOUS.search(name)
        ]

    async def expert(self) -> list[Complaint]:
        """What Wireshark remarks on, checksums included, by the sender's address."""
        found: Counter[tuple[str, str]] = Counter()
        remarks = await trio.to_thread.run_sync(self._wireshark.remarks, self._capture)
        for source, _, message in remarks:
            is_kernels = source in (IPV4.kernel, IPV6.kernel)
            if not message.startswith(_THE_KERNELS_OWN if is_kernels else _INNOCENT):
                found[source, message] += 1
        return [Complaint(*who_and_what, times) for who_and_what, times in sorted(found.items())]

    def close(self) -> None:
        """End the capture."""
        self._writer.close()


@asynccontextmanager
async def judged(
    namespace: Namespace,
    capture: Path,
    wireshark: Wireshark,
    *,
    offload: bool,
    ends: Ends = IPV4,
) -> AsyncIterator[Judge]:
    """A judge for the time of the block."""
    judge = Judge(namespace, capture, wireshark, offload=offload, ends=ends)
    try:
        yield judge
    finally:
        judge.close()
