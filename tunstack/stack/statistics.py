"""The names of a stack's statistics.

What the codec and the address checks drop is counted under the `Reason`'s value, what the TCP rules
make of a segment under ``tcp_`` and the `Verdict`'s name. The rest is named here.

Of ICMP and ICMPv6:

===================  ==============================================================================
``icmp_received``    valid messages, of every type
``icmp_ignored``     those that ask for nothing that a host on a TUN device does: redirects, source
                     quench, timestamp and address mask requests, Router and Neighbor Discovery,
                     Multicast Listener Discovery, unknown types
``icmp_unmatched``   errors and echo replies about nothing that was sent from here, or too late
``icmp_suppressed``  errors that were not sent, as of the rate limits
``echo_overflow``    echo replies for which a ping socket's receive buffer had no room
===================  ==============================================================================

Each of the ``fragments_received`` becomes a part of one of the ``datagrams_reassembled``, waits
(``fragment_memory_held`` octets of memory), or is dropped:

======================  ===========================================================================
``bad_fragment``        malformed, or it contradicts others: the whole datagram is dropped
``fragment_duplicate``  all of its octets were received before
``fragment_overlap``    overlaps others: the whole datagram is dropped
``fragment_timeout``    the others did not arrive within 30 seconds (IPv4) or 60 (IPv6)
``fragment_memory``     evicted, the oldest: `Limits.fragment_memory`, or the peer's share of it
======================  ===========================================================================

The ``datagrams_fragmented`` are sent as ``fragments_sent``.

Of UDP:

===================  ======================================================================="""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tunstack.stack import admission, datagrams, eviction, memory, output
from tunstack.tcp.connection.verdict import Verdict
from tunstack.tcp.listen import fast_open
from tunstack.wire import Reason

if TYPE_CHECKING:
    from collections import Counter

_OWN_COUNTERS: Final = (
    "packets_received",
    "packets_sent",
    "icmp_received",
    "icmp_unmatched",
    "icmp_ignored",
    "fragments_received",
    "datagrams_reassembled",
    "congestion_marks",
    "retransmission_timeout",
    "retransmission_challenged",
    "retransmission_fast",
    "retransmission_too_large",
    "path_mtu_lowered",
    "size_probe",
    "retransmission_tail_loss_probe",
    "window_probe",
    "keep_alive",
    "lost_to_full_link",
    "internal_errors",
    "icmp_suppressed",
    "echo_overflow",
    *admission.COUNTERS,
    *memory.COUNTERS,
    *datagrams.COUNTERS,
    *eviction.COUNTERS,
    *fast_open.COUNTERS,
    *output.COUNTERS,
)
"""Statistics that are neither a `Reason`'s nor a `Verdict`'s, the host's among them."""

GAUGES: Final = frozenset({"memory_held", "fragment_memory_held", "half_open"})
"""Statistics that are gauges, not counters."""


def collected(
    counters: Counter[str],
    *,
    received: int,
    sent: int,
    predicted: int,
    memory_held: int,
    fragment_memory_held: int,
    half_open: int,
) -> dict[str, int]:
    """Return all of a stack's statistics by name; unused counters are 0.

    Args:
        counters: What was counted, by the names that the code has for it.
        received: Packets received, which `counters` has not.
        sent: Packets sent, likewise.
        predicted: Segments on the fast path, likewise.
        memory_held: In octets.
        fragment_memory_held: In octets.
        half_open: Connections in SYN-RECEIVED.
    """
    counts = dict.fromkeys(_OWN_COUNTERS, 0)
    counts |= {reason.value: counters[reason] for reason in Reason}
    counts |= {f"tcp_{verdict.name.lower()}": counters[verdict] for verdict in Verdict}
    counts["packets_received"] = received
    counts["packets_sent"] = sent
    counts["tcp_accepted"] += predicted
    counts["tcp_predicted"] = predicted
    counts["memory_held"] = memory_held
    counts["fragment_memory_held"] = fragment_memory_held
    counts["half_open"] = half_open
    own = {*Reason, *Verdict}
    for name, count in counters.items():
        if name not in own:
            counts[name.replace(": ", "_").replace(" ", "_").replace("-", "_")] = count
    return counts
