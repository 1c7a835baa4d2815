"""What an application gives goes out at once, and is what would have gone out by all the rules."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Interface
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from tests.tcp.crowd import Crowd
from tests.tcp.inspection import Tcb
from tunstack.stack.flow import Flow
from tunstack.stack.stack import Stack
from tunstack.tcp.config import Config

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.tcp.crowd import Packet


def exchange(*, at_once: bool, offload: bool = False, **fields: Any) -> tuple[Crowd, Flow]:
    """A connection of which nothing is to be said but that data comes and goes."""
    crowd = Crowd(offload=offload)
    crowd.stack.immediate = True
    peer = crowd.peer()
    peer.syn()
    peer.ack(**fields)
    flow = crowd.accept()
    assert Tcb(flow).on_fast_path
    if not at_once:
        Tcb(flow).on_fast_path = False
    return crowd, flow


def given(crowd: Crowd, flow: Flow, size: int) -> list[Packet]:
    crowd.stack.send(flow, bytes(size), crowd.now)
    return crowd.flush()


@pytest.mark.parametrize("size", [1, 1448, 1449, 10_000, 40_000])
def test_the_same_goes_out_as_by_all_the_rules(size: int) -> None:
    """All that the windows let go, be it less than what was given."""
    sent = given(*exchange(at_once=True), size)
    assert sent == given(*exchange(at_once=False), size)
    assert sent


@pytest.mark.parametrize("size", [65_159, 65_160, 65_161, 65_400, 65_535, 200_000])
def test_large_segments_end_where_they_do_by_all_the_rules(size: int) -> None:
    """With offload a segment carries 45 of an MSS: the rest of 64 KiB is less than one."""
    both = []
    for at_once in (False, True):
        crowd, flow = exchange(at_once=at_once, offload=True)
        Tcb(flow).cwnd = 1 << 20
        both.append(given(crowd, flow, size))
    assert both[0] == both[1]
    assert len(both[0][0].segment.payload) == min(size, 45 * 1448)


def test_it_goes_out_without_a_flush() -> None:
    crowd, flow = exchange(at_once=True)
    crowd.stack.send(flow, b"hello", crowd.now)
    assert len(crowd.stack.outgoing) == 1
    assert not flow.pending
    assert crowd.stack.deadline() is not None  # The timers know of it.


def test_off_the_fast_path_it_waits_for_the_flush() -> None:
    crowd, flow = exchange(at_once=False)
    crowd.stack.send(flow, b"hello", crowd.now)
    assert not crowd.stack.outgoing
    assert flow.pending


def test_a_window_that_is_closed_is_probed_all_the_same() -> None:
    crowd, flow = exchange(at_once=True, wnd=0)
    assert given(crowd, flow, 100) == []
    assert not Tcb(flow).on_fast_path
    assert Tcb(flow).persisting
    assert crowd.advance(1.0)


class Pair:
    """Two stacks with one connection between them, which applications use as sockets do."""

    def __init__(self, seed: int, *, predict: bool, **settings: Any) -> None:
        self.now = 0.0
        self.answers = 0
        self.frames: list[bytes] = []
        config = Config(**settings)
        self.stacks = [
            Stack(
                [IPv4Interface(address)],
                1500,
                rng=Random(seed + number),
                config=config,
                offload=True,
                predict=predict,
            )
            for number, address in enumerate(("198.51.100.1/24", "198.51.100.2/24"))
        ]
        client, server = self.stacks
        port = server.demux.bind(None, 9000, reuse=False)
        listener = server.opening.listen(None, port, 1)
        connected = client.opening.connect(server.addresses.interfaces[0].ip.packed, port, self.now)
        self.carry()
        accepted = listener.accept()
        assert isinstance(accepted, Flow)
        self.flows = [connected, accepted]
        for stack, flow in zip(self.stacks, self.flows, strict=True):
            stack.immediate = True
            flow.changed = lambda: None

    def carry(self, loss: float = 0.0, rng: Random | None = None) -> None:
        """Let a millisecond pass, and carry what there is to carry, but what is lost."""
        self.now += 0.001
        for _ in range(4):
            for stack, other in zip(self.stacks, reversed(self.stacks), strict=True):
                if (at := stack.deadline()) is not None and at <= self.now:
                    stack.handle_timers(self.now)
                stack.flush(self.now)
                while stack.outgoing:
                    frame = b"".join(stack.outgoing.popleft())
                    self.frames.append(frame)
                    if rng is None or rng.random() >= loss:
                        other.handle_packet(frame, self.now)
                other.flush(self.now)

    def give(self, side: int, data: bytes) -> None:
        stack, flow = self.stacks[side], self.flows[side]
        before = len(stack.outgoing)
        stack.send(flow, data, self.now)
        if not flow.pending:
            self.answers += 1
            assert len(stack.outgoing) == before + 1
            return
        stack.flush(self.now)

    def take(self, side: int, size: int) -> bytes:
        stack, flow = self.stacks[side], self.flows[side]
        data = stack.read(flow, size)
        if flow.pending:
            stack.flush(self.now)
        return data

    def exchange(self, seed: int) -> list[object]:
        """Do what applications may do, as `seed` has it; returns all that can be seen of it."""
        rng = Random(seed)
        loss = rng.choice((0.0, 0.0, 0.02))
        seen: list[object] = []
        for _ in range(120):
            side = rng.randrange(2)
            for _ in range(rng.choice((1, 1, 1, 2))):
                self.give(side, rng.randbytes(rng.choice((1, 75, 1448, 1449, 3000))))
            if rng.random() < 0.1:
                self.now += rng.choice((0.05, 0.3, 2.0))
            self.carry(loss, rng)
            if rng.random() < 0.8:
                seen.append(self.take(1 - side, rng.choice((10, 65536))))
            seen += [Tcb(flow).transfer_state for flow in self.flows]
            # Of those that stand in the queues some may be too early: what counts is their own.
            seen += [flow.deadline() for flow in self.flows]
        return [*seen, *self.frames]


@pytest.mark.parametrize("seed", range(30))
def test_an_answer_is_what_all_the_rules_would_have_sent(seed: int) -> None:
    """The same frames at the same times, and the same state after each, with losses and pauses."""
    settings = {
        "nodelay": seed % 3 > 0,
        "receive_buffer": (1 << 18, 4096)[seed % 5 == 4],
        "tail_loss_probe": seed % 7 > 0,
    }
    short = Pair(seed, predict=True, **settings)
    assert short.exchange(seed) == Pair(seed, predict=False, **settings).exchange(seed)
    assert short.answers


HINDRANCES: dict[str, Callable[[Tcb], object]] = {
    "it is corked": lambda tcb: setattr(tcb, "corked", True),
    "more is to come": lambda tcb: setattr(tcb, "more", True),
    "something is queued": lambda tcb: tcb.enqueue(b"earlier"),
    "something is on its way": lambda tcb: setattr(tcb, "snd_nxt", tcb.snd_nxt + 1),
    "the send buffer is smaller": lambda tcb: tcb.set_send_size(99),
    "the window is smaller": lambda tcb: setattr(tcb, "snd_wnd", 99),
    "cwnd is smaller": lambda tcb: setattr(tcb, "cwnd", 99),
    "the path is not known to carry it": lambda tcb: setattr(tcb, "proven_size", 99),
    "a segment cannot carry it": lambda tcb: setattr(tcb, "snd_mss", 99),
    "it was idle": lambda tcb: setattr(tcb, "last_sent", -1.0),
    "memory is tight": lambda tcb: setattr(tcb.budget, "tight", True),
    "it is not on the fast path": lambda tcb: setattr(tcb, "on_fast_path", False),
    "it is pending": lambda tcb: setattr(tcb.connection, "pending", True),
}


@pytest.mark.parametrize("hindrance", HINDRANCES)
def test_it_is_left_to_the_rules_where(hindrance: str) -> None:
    crowd, flow = exchange(at_once=True)
    HINDRANCES[hindrance](Tcb(flow))
    before, queued = flow.info(), flow.sender.buffer.size
    crowd.stack.send(flow, bytes(100), crowd.now, more=flow.sender.more)
    assert flow.pending
    assert flow.sender.buffer.size == queued + 100
    assert flow.info() == replace(before, notsent=flow.sender.unsent)
    assert not crowd.stack.outgoing


def test_nothing_is_sent_where_nothing_is_given() -> None:
    crowd, flow = exchange(at_once=True)
    crowd.stack.send(flow, b"", crowd.now)
    assert not crowd.stack.outgoing
    crowd.flush()
    crowd.stack.send(flow, b"x", crowd.now)
    assert crowd.stack.outgoing


@pytest.mark.parametrize(("delay", "timed_from"), [(0.005, 0.0), (0.02, 0.02)])
def test_a_reply_that_leaves_late_is_timed_from_then(delay: float, timed_from: float) -> None:
    """After that its state is as of one that was given only then; a few milliseconds are let be."""
    crowd, flow = exchange(at_once=True)
    crowd.stack.send(flow, bytes(100), crowd.now)
    crowd.stack.restamp_replies([flow], crowd.now + delay)
    other, later = exchange(at_once=True)
    other.stack.send(later, bytes(100), crowd.now + timed_from)
    assert Tcb(flow).transfer_state == Tcb(later).transfer_state
