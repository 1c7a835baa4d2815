"""Verdicts on SYNs: an async function decides what becomes of each attempt to connect."""

from __future__ import annotations

from collections import OrderedDict
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, get_args

from tunstack.host.control import ControlledLoop
from tunstack.wire import Discard, decode_datagram, decode_segment

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable, Iterable, Iterator

    from tunstack.link.base import Link
    from tunstack.link.plan import AddressLike
    from tunstack.path.rules import Packet, Rule, Selection
    from tunstack.socket import TcpListener
    from tunstack.stack.stack import Stack

SynVerdict: TypeAlias = Literal[
    "accept",
    "drop",
    "hold",
    "refuse",
    "host-unreachable",
    "port-unreachable",
    "network-unreachable",
    "prohibited",
]
"""What becomes of a SYN; see :meth:`tunstack.Host.on_syn`."""
if TYPE_CHECKING:
    Decide: TypeAlias = Callable[[Packet], Awaitable[SynVerdict]]

_VERDICTS: Final[tuple[str, ...]] = get_args(SynVerdict)
_OF_A_CONNECTION: Final = frozenset({None, "CLOSED", "TIME-WAIT"})
"""States of the host's connection in which a SYN may open another."""

MOST_WAITING: Final = 1024
"""Attempts to connect, at most, that wait for a verdict; SYNs of others are dropped."""
MOST_REMEMBERED: Final = 4096
"""Accepted and held attempts, at most, whose retransmitted SYNs are not asked about again."""
NOT_ASKED: Final = "syn_not_asked"
"""The statistic of SYNs that were dropped as too many waited."""
_WHOLE_FAMILIES: Final = {"0.0.0.0": "0.0.0.0/0", "::": "::/0"}
"""By the address of a listener for all of a family."""

Attempt: TypeAlias = tuple[object, ...]
"""Both addresses and ports of a SYN, and its sequence number, which its retransmissions share."""


def check_function(function: Decide | None) -> None:
    """Raise TypeError for what is no function."""
    if not (function is None or callable(function)):
        raise TypeError(f"on_syn takes an async function of a packet, not {function!r}")


class DecidingLoop(ControlledLoop):
    """A host's loop, and the verdicts on SYNs.

    Attributes:
        syns_not_asked: SYNs that were dropped as too many waited for a verdict.
    """

    def __init__(self, link: Link, stack: Stack, rng: random.Random, seed: int | None) -> None:
        super().__init__(link, stack, rng, seed)
        self.syns_not_asked = 0

    def on_syn(
        self,
        function: Decide,
        port: int | None = None,
        *,
        remote: AddressLike | None = None,
    ) -> Rule:
        """See :meth:`tunstack.Host.on_syn`."""
        selection: Selection = {}
        if port is not None:
            selection["local_port"] = port
        if remote is not None:
            selection["remote"] = remote
        return self._ask_about_syns(function, selection)

    def _ask_about_syns(self, function: Decide, selection: Selection) -> Rule:
        check_function(function)
        questions = _Questions(self, function)
        selection |= {"direction": "in", "protocol": "tcp", "flags": "SYN,!ACK,!RST,!FIN"}
        return self.rules.call(questions.syn_arrives, **selection)

    @contextmanager
    def asked_about_listeners(
        self, function: Decide | None, listeners: Iterable[TcpListener]
    ) -> Iterator[None]:
        """Within the block, ask `function` about each SYN to one of `listeners`; None: do not."""
        with ExitStack() as rules:
            for listener in listeners:
                if function is None:
                    break
                address, port = listener.socket.getsockname()[:2]
                local = _WHOLE_FAMILIES.get(address, address)
                selection: Selection = {"local": local, "local_port": port}
                rules.enter_context(self._ask_about_syns(function, selection))
            yield

    def rule_counts(self) -> dict[str, int]:
        """Return what its rules and verdicts did, by the names of the statistics."""
        return super().rule_counts() | {NOT_ASKED: self.syns_not_asked}

    def start_question(self, questions: _Questions, attempt: Attempt, syn: Packet) -> None:
        """Start a task that asks about a SYN; what is raised in it ends the host's block."""
        assert self._running is not None
        self._running.start_soon(self._ask, questions, attempt, syn)

    async def _ask(self, questions: _Questions, attempt: Attempt, syn: Packet) -> None:
        try:
            await questions.ask(attempt, syn)
        except Exception as error:
            if not questions.failed:
                questions.failed = True  # Of several that fail at once the first is enough.
                self._fail(error)


class _Questions:
    """The attempts to connect about which one function is asked.

    Attributes:
        failed: Whether the function has raised.
    """

    def __init__(self, host: DecidingLoop, function: Decide) -> None:
        self.failed = False
        self._host = host
        self._function = function
        self._waiting: dict[Attempt, Packet] = {}
        self._decided: OrderedDict[Attempt, SynVerdict] = OrderedDict()

    def syn_arrives(self, syn: Packet) -> Packet | None:
        """Take a SYN, or return it for the stack: the function of a rule."""
        attempt = (syn.source, syn.source_port, syn.destination, syn.destination_port, syn.seq)
        decided = self._decided.get(attempt)
        if decided == "hold":
            return None
        if decided == "accept" or not self._may_open(syn):
            return syn
        if attempt not in self._waiting:
            if len(self._waiting) >= MOST_WAITING:
                self._host.syns_not_asked += 1
                return None
            self._host.start_question(self, attempt, syn)
        self._waiting[attempt] = syn
        return None

    def _may_open(self, syn: Packet) -> bool:
        """Whether a SYN is valid, to the host, and belongs to no connection."""
        try:
            datagram = decode_datagram(syn.data)
            self._host.stack.addresses.check(datagram.src, datagram.dst, looped=False)
            decode_segment(datagram)
        except Discard:
            return False
        return syn.state in _OF_A_CONNECTION

    async def ask(self, attempt: Attempt, syn: Packet) -> None:
        """Ask the function about an attempt, and do as it says.

        Raises:
            ValueError: it returned no verdict; and whatever it raises.
        """
        try:
            verdict = await self._function(syn)
            if verdict not in _VERDICTS:
                known = ", ".join(_VERDICTS)
                raise ValueError(f"{verdict!r} is no verdict on a SYN; there are {known}")
        finally:
            latest = self._waiting.pop(attempt)
        if verdict in ("accept", "hold"):
            self._decided[attempt] = verdict
            if len(self._decided) > MOST_REMEMBERED:
                self._decided.popitem(last=False)
        if verdict in ("drop", "hold"):
            return
        rules = self._host.rules
        try:
            if verdict == "accept":
                rules.inject(latest, "in")
            elif verdict == "refuse":
                rules.inject(latest.reset(), "out")
            else:
                rules.inject(latest.icmp_error(verdict), "out")
        except OSError:
            pass  # The device is gone.
