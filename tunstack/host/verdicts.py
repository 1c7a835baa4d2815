"""Verdicts on SYNs: an async function decides what becomes of each attempt to connect."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeAlias, final, get_args

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import trio

    from tunstack.path.rules import Packet, Rules
    from tunstack.stack.stack import Stack

Verdict: TypeAlias = Literal[
    "accept",
    "drop",
    "hold",
    "refuse",
    "host-unreachable",
    "port-unreachable",
    "network-unreachable",
    "prohibited",
]
VERDICTS: Final[tuple[str, ...]] = get_args(Verdict)

MOST_UNDECIDED: Final = 4096
"""Attempts to connect, at most, that wait for a verdict or are held; SYNs of others are dropped."""
MOST_ACCEPTED: Final = 4096
"""Accepted attempts that are remembered, for SYNs that are retransmitted."""
NOT_ASKED: Final = "syn_not_asked"
"""The counter of SYNs that were dropped as too many others waited."""

Attempt: TypeAlias = tuple[object, object, object, object, object]
"""Both addresses and ports of a SYN, and its sequence number, which its retransmissions share."""


class Asking(Protocol):
    """What verdicts ask of a host."""

    stack: Stack

    @property
    def rules(self) -> Rules: ...  # noqa: D102

    def run_in_host(self, function: Callable[..., Awaitable[object]], *args: Any) -> None:
        """Start a task in the host's nursery; what it raises ends the host's block."""


@final
class SynVerdicts:
    """Asks a function about SYNs, and does as it says: the function of a rule on them.

    Of an attempt that waits for its verdict the latest SYN is kept: that is what is accepted or
    answered. What is no valid segment to the host, and what belongs to one of its connections, goes
    to its stack, which answers or drops it.
    """

    def __init__(
        self, host: Asking, function: Callable[[Packet], Awaitable[str]]
    ) -> None:
        self._host = host
        self._function = function
        self._waiting: dict[Attempt, Packet | None] = {}
        self._accepted: OrderedDict[Attempt, None] = OrderedDict()

    def __call__(self, syn: Packet) -> Packet | None:
        """Take a SYN, or return it for the stack."""
        attempt = (syn.source, syn.source_port, syn.destination, syn.destination_port, syn.seq)
        if attempt in self._accepted or not self._is_new(syn):
            return syn
        if attempt in self._waiting:
            if self._waiting[attempt] is not None:
                self._waiting[attempt] = syn
        elif len(self._waiting) >= MOST_UNDECIDED:
            self._host.stack.counters[NOT_ASKED] += 1
        else:
            self._waiting[attempt] = syn
            self._host.run_in_host(self._decide, attempt, syn)
        return None
