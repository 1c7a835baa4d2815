"""What a host's packets pass on its link: packet rules, and the cable."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

import trio

from tunstack.host.resolving import ResolvingLoop
from tunstack.path.rules.bound import BoundRules
from tunstack.path.rules.gate import COUNTERS, Gate
from tunstack.path.rules.known import Known
from tunstack.path.rules.link import RuledLink
from tunstack.path.rules.rules import Rules
from tunstack.stack.observation import Observation
from tunstack.tcp.connection.state import State
from tunstack.tcp.sequence import MASK

if TYPE_CHECKING:
    import random
    from typing import Unpack

    from tunstack.ip.demux import FourTuple
    from tunstack.link.base import Link
    from tunstack.path.impair import ImpairmentsLike
    from tunstack.path.rules.packet import Direction, Packet
    from tunstack.path.rules.rule import Rule
    from tunstack.path.rules.selection import Selection
    from tunstack.stack.flow import Flow
    from tunstack.stack.stack import Stack

_NOT_SYNCHRONIZED = frozenset({State.CLOSED, State.LISTEN, State.SYN_SENT})


class ControlledLoop(ResolvingLoop):
    """A host's loop, and the rules on its packets.

    With the first rule the link is replaced by a `RuledLink` around it, and a task delivers what
    waits there; without any the link itself is back, and packets take no step more.

    Attributes:
        gate: What packets pass while there are rules.
        bare_link: The link without rules.
    """

    def __init__(self, link: Link, stack: Stack, rng: random.Random, seed: int | None) -> None:
        super().__init__(link, stack, rng)
        self.bare_link = link
        self.gate = Gate(self._observe, self._fail, self._gate_woken, self._known)
        self._ruled = RuledLink(link, self.gate, self._known)
        self._rules = Rules(self, seed)
        self._bound = BoundRules(self._known)
        self._impairing: list[Rule] = []
        self._running: trio.Nursery | None = None
        self._delivers = False
        self._next_delivery = trio.CancelScope()

    def start(self, nursery: trio.Nursery) -> None:
        """Run in `nursery`, until that is cancelled."""
        super().start(nursery)
        self._running = nursery
        self._start_deliveries()

    @property
    def rules(self) -> Rules:
        """See :attr:`tunstack.Host.rules`."""
        return self._rules

    def unplug(self) -> None:
        """See :meth:`tunstack.Host.unplug`."""
        self.use_gate()
        self.gate.unplugged = True

    def plug(self) -> None:
        """See :meth:`tunstack.Host.plug`."""
        self.gate.unplugged = False
        self._leave_gate()

    def impair(self, impairments: ImpairmentsLike, **selection: Unpack[Selection]) -> Rule | None:
        """See :meth:`tunstack.Host.impair`."""
        if impairments is not None:
            rule = self._rules.impair(impairments, **selection)
            self._impairing = [each for each in self._impairing if not each.removed] + [rule]
            return rule
        if selection:
            raise ValueError("impair(None) ends all impairments: it selects no packets")
        for rule in self._impairing:
            rule.remove()
        self._impairing.clear()
        return None

    @property
    def gated(self) -> bool:
        """Whether packets pass the gate: there are rules, or packets that wait for some."""
        return self._link is not self.bare_link

    def rule_counts(self) -> dict[str, int]:
        """Return what its rules did, by the names of the statistics."""
        return {name: self.gate.counts[name] for name in COUNTERS}

    # For the verbs of connections

    def silence(self, flow: Flow, directions: tuple[Direction, ...]) -> None:
        """Drop the packets of a connection from now on; see :class:`.silence.Silence`.

        Raises:
            OSError: ENETDOWN: the host has ended, or its device is gone.
        """
        self.use_gate()
        self.gate.silence.add(flow.four_tuple, flow.number, directions)

    def end_with(self, flow: Flow, rule: Rule) -> None:
        """Remove a rule on packets of a connection some time after that is gone."""
        self._bound.add(rule, flow.four_tuple, flow.number)

    # For the rules

    def use_gate(self) -> None:
        """Let packets pass the gate from now on.

        Raises:
            OSError: ENETDOWN: the host has ended, or its device is gone.
        """
        self.check_link()
        self._link = self._ruled
        self._start_deliveries()

    def inject(self, packet: Packet) -> None:
        """Send a packet in its direction, seen by no rule."""
        if self.gate.unplugged:
            self.gate.took(packet, "unplugged", trio.current_time())
            return
        self.gate.took(packet, "injected", trio.current_time())
        if packet.direction == "in":
            self.gate.deliver(packet)
            return
        try:
            self._ruled.transmit(packet)
        except Exception as error:
            self._link_raised(error)
        self._leave_gate()

    def _leave_gate(self) -> None:
        """Let packets pass beside the gate if it has nothing to do."""
        if self._ruled.idle:
            self._link = self.bare_link

    def _gate_woken(self) -> None:
        self._leave_gate()
        self._next_delivery.deadline = min(self._next_delivery.deadline, self._ruled.next_event)

    def _start_deliveries(self) -> None:
        if self._running is not None and self._link is self._ruled and not self._delivers:
            self._delivers = True
            self._running.start_soon(self._deliver_delayed, name=f"rules of {self.name}")

    async def _deliver_delayed(self) -> None:
        """Deliver what waits in the gate, in both directions, when it is due."""
        while True:
            self._next_delivery = trio.CancelScope(deadline=self._ruled.next_event)
            with self._next_delivery:
                await trio.sleep_forever()
            if self._broken is not None:
                return
            try:
                arriving = self._ruled.deliver()
            except Exception as error:
                self._link_raised(error)
                return
            now = trio.current_time()
            for frame in arriving:
                try:
                    self.stack.handle_packet(frame, now)
                except Exception as error:
                    self._stack_raised(error, "a packet from %s", bytes(frame).hex())
            if arriving:
                self._flush(now)
            self._leave_gate()

    def _link_failed(self, error: Exception) -> None:
        super()._link_failed(error)
        if not self.ended:  # At the end the link's `close` does it, after what was delayed.
            self.gate.clear()

    def _observe(self, packet: Packet, verdict: str, now: float) -> None:
        """Report to the tap what a rule did to a packet."""
        output = self.stack.output
        if output.tap is not None:
            time = output.epoch + now
            output.observe(Observation(time, packet.direction, packet.data, verdict=verdict))

    def _known(self, ends: FourTuple) -> Known | None:
        """Return what the stack knows of a connection."""
        flow = self.stack.demux.find(ends)
        if flow is not None:
            return _known_of(flow)
        wait = self.stack.time_waits.get(ends.incoming)
        if wait is None:
            return None
        return Known(wait.number, State.TIME_WAIT.value, None, None, wait.info)

    @abstractmethod
    def _fail(self, error: Exception) -> None:
        """End the host's block with `error`."""


def _known_of(flow: Flow) -> Known:
    sender, receiver, state = flow.sender, flow.receiver, flow.state
    if state is State.TIME_WAIT:  # It may have been restored without its first numbers.
        return Known(flow.number, state.value, None, None, flow.info)
    sent = (sender.iss + 1 & MASK, sender.buffer.acknowledged)
    received = None
    if state not in _NOT_SYNCHRONIZED:
        received = (receiver.irs + 1 & MASK, receiver.buffer.total)
    return Known(flow.number, state.value, sent, received, flow.info)
