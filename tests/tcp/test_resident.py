"""What is accounted bounds what is resident: a host filled to its limit, by each way there is.

Each way lets peers, or an application, hold as much as they can for as little as it is counted.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import pytest

from tests.allocated import allocated
from tests.link.in_a_child import run
from tests.tcp.crowd import CONFIG, MSS, OURS, PORT, Crowd, state
from tests.tcp.inspection import Tcb
from tunstack.stack.limits import Limits
from tunstack.stack.output import MOST_LOOPED
from tunstack.tcp.connection.state import State
from tunstack.tcp.segment import ACK, FIN, RST, URG
from tunstack.tcp.sequence import MASK

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.tcp.crowd import Peer
    from tunstack.stack.flow import Flow

LIMIT: Final = 1 << 20
CONSTANT: Final = 128 << 10
"""Octets that filling a host may take beside what is accounted, however large its memory is."""
SEGMENT: Final = MSS - 12
LARGE: Final = 20 * SEGMENT
"""Octets of a segment that the link has put together."""
NEW: Final = 1100
"""Octets of a segment that are new: so many are not copied because they are few."""
CROWDED: Final = replace(CONFIG, receive_buffer=1 << 16, send_buffer=1 << 16, urgent_inline=False)


def largest(crowd: Crowd) -> int:
    """Octets of data in the largest segment that a link brings."""
    return LARGE if crowd.offload else SEGMENT


# What a peer, and the application, do with one connection


def unread(crowd: Crowd, peer: Peer, flow: Flow) -> None:
    left = Tcb(flow).rcv_wnd
    while left:
        size = min(left, largest(crowd))
        peer.send(bytes(size))
        left -= size


def unread_in_small_pieces(crowd: Crowd, peer: Peer, flow: Flow) -> None:
    for size in (1, 100, 1023, 1024, 1):
        for _ in range(20):
            peer.send(bytes(size))


def unread_with_padding(crowd: Crowd, peer: Peer, flow: Flow) -> None:
    """The packet is longer than its header says."""
    for size in (1, 2000):
        segment = peer.next(payload=bytes(size))
        crowd.packet(peer.packet(segment) + bytes(60_000 if crowd.offload else 1400))
        peer.nxt = (peer.nxt + size) & MASK


def almost_read(crowd: Crowd, peer: Peer, flow: Flow) -> None:
    """The application reads all but an octet, and that stays."""
    size = largest(crowd)
    peer.send(bytes(size))
    crowd.stack.read(flow, size - 1)
    crowd.act(flow)


def hidden(crowd: Crowd, peer: Peer, flow: Flow) -> None:
    """The last octet is urgent, and out of line: whoever reads the stream does not get it."""
    size = largest(crowd)
    peer.send(bytes(size), flags=ACK | URG, up=size)
    assert len(crowd.stack.read(flow, size)) == size - 1
    crowd.act(flow)


def unsent(crowd: Crowd, peer: Peer, flow: Flow) -> None:
    peer.ack(wnd=0)
    flow.send(bytes(1 << 20), crowd.now)
    crowd.act(flow)


def unsent_in_small_pieces(crowd: Crowd, peer: Peer, flow: Flow) -> None:
    peer.ack(wnd=0)
    for size in (1, 100, 2047, 2048, 1):
        for _ in range(10):
            flow.send(bytes(size), crowd.now)
    crowd.act(flow)


def unsent_part_of_more(crowd: Crowd, peer: Peer, flow: Flow) -> None:
    """Of what the application has, the last part is kept."""
    peer.ack(wnd=0)
    whole = bytes(100_000)
    flow.send(memoryview(whole)[50_001:], crowd.now)
    crowd.act(flow)


def acknowledge_all_but(crowd: Crowd, peer: Peer, flow: Flow, rest: int) -> None:
    """The application gives what it may; the peer acknowledges it, but not the last of it."""
    left = flow.send(bytes(flow.writable_size), crowd.now)
    crowd.act(flow)
    while left > rest:
        got = min(left - rest, Tcb(flow).outstanding)
        peer.expected = (peer.expected + got) & MASK
        left -= got
        peer.ack()
    peer.ack(wnd=0)


def unacknowledged(crowd: Crowd, peer: Peer, flow: Flow) -> None:
    acknowledge_all_but(crowd, peer, flow, 1)


def half_unacknowledged(crowd: Crowd, peer: Peer, flow: Flow) -> None:
    acknowledge_all_but(crowd, peer, flow, 25_000)


def selectively_acknowledged(crowd: Crowd, peer: Peer, flow: Flow) -> None:
    """The peer claims to hold every second octet."""
    flow.send(bytes(20_000), crowd.now)
    crowd.act(flow)
    for start in range(1, 600, 6):
        blocks = tuple(
            ((peer.expected + start + at) & MASK, (peer.expected + start + at + 1) & MASK)
            for at in (0, 2, 4)
        )
        peer.ack(sack=blocks)


def out_of_order(crowd: Crowd, peer: Peer, flow: Flow) -> None:
    size = largest(crowd)
    at = 1
    while at + size < Tcb(flow).rcv_wnd:
        peer.beyond(at, bytes(size))
        at += size + 1


def out_of_order_in_small_pieces(crowd: Crowd, peer: Peer, flow: Flow) -> None:
    for number in range(200):
        peer.beyond(1 + number * 3, bytes(2))


def overlapping_on_the_left(crowd: Crowd, peer: Peer, flow: Flow) -> None:
    """Each segment brings little more than what was there."""
    size = largest(crowd)
    peer.send(bytes(size))
    for _ in range(min(Tcb(flow).rcv_wnd // NEW, 30)):
        peer.ack(payload=bytes(size), seq=(peer.nxt + NEW - size) & MASK)
        peer.nxt = (peer.nxt + NEW) & MASK


def overlapping_on_the_right(crowd: Crowd, peer: Peer, flow: Flow) -> None:
    """Of each segment little lies within the window."""
    peer.beyond(Tcb(flow).rcv_wnd - NEW, bytes(largest(crowd)))


def overlapping_beyond_a_gap(crowd: Crowd, peer: Peer, flow: Flow) -> None:
    """As on the left, and nothing of it is in order."""
    size = largest(crowd)
    for start in range(1, Tcb(flow).rcv_wnd - size, NEW):
        peer.beyond(start, bytes(size))


def covered_from_the_left(crowd: Crowd, peer: Peer, flow: Flow) -> None:
    """Each segment covers most of the one before it, beyond a gap."""
    size = largest(crowd)
    for start in range(Tcb(flow).rcv_wnd - size, 0, -NEW):
        peer.beyond(start, bytes(size))


def covered_in_order(crowd: Crowd, peer: Peer, flow: Flow) -> None:
    """What fills a gap covers most of what lies beyond it."""
    size = largest(crowd)
    for _ in range(Tcb(flow).rcv_wnd // (size + NEW)):
        peer.beyond(NEW, bytes(size))
        peer.send(bytes(size))
        peer.nxt = (peer.nxt + NEW) & MASK


def finished_unread(crowd: Crowd, peer: Peer, flow: Flow) -> None:
    """The connection is over, and its socket is not."""
    peer.send(b"x")
    flow.send(bytes(100_000), crowd.now)
    crowd.act(flow)
    peer.beyond(1, bytes(largest(crowd)))
    peer.ack(RST)


def closed_and_stuck(crowd: Crowd, peer: Peer, flow: Flow) -> None:
    peer.ack(wnd=0)
    flow.send(bytes(5000), crowd.now)
    flow.close()
    crowd.act(flow)


def time_wait_owned(crowd: Crowd, peer: Peer, flow: Flow) -> None:
    """The application has shut down its half, and not closed it."""
    flow.shutdown()
    crowd.act(flow)
    peer.expected = (peer.expected + 1) & MASK
    peer.ack(FIN | ACK)
    assert state(flow) is State.TIME_WAIT


def time_wait(crowd: Crowd, peer: Peer, flow: Flow) -> None:
    flow.close()
    crowd.act(flow)
    peer.expected = (peer.expected + 1) & MASK
    peer.ack(FIN | ACK)


def nothing(crowd: Crowd, peer: Peer, flow: Flow) -> None:
    """It just is there."""


WAYS: Final[tuple[Callable[[Crowd, Peer, Flow], None], ...]] = (
    nothing,
    unread,
    unread_in_small_pieces,
    unread_with_padding,
    almost_read,
    hidden,
    unsent,
    unsent_in_small_pieces,
    unsent_part_of_more,
    unacknowledged,
    half_unacknowledged,
    selectively_acknowledged,
    out_of_order,
    out_of_order_in_small_pieces,
    overlapping_on_the_left,
    overlapping_on_the_right,
    overlapping_beyond_a_gap,
    covered_from_the_left,
    covered_in_order,
    finished_unread,
    closed_and_stuck,
    time_wait_owned,
    time_wait,
)


def wakes_nobody() -> None:
    """A socket's application does something else."""


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("offload", [False, True], ids=["plain", "offload"])
def test_what_is_accounted_bounds_what_is_resident(
    way: Callable[[Crowd, Peer, Flow], None], offload: bool
) -> None:
    """Just before it is full, and when nobody is let in any more."""
    crowd = Crowd(CROWDED, limits=Limits(memory=LIMIT), backlog=4096, offload=offload)
    crowd.stack.set_tap(None)
    budget, counters = crowd.stack.memory.budget, crowd.stack.counters
    peers = crowd.peers(300)
    sockets: list[Flow] = []
    most = 0
    before = allocated()
    for peer in peers:
        if counters["out_of_order_pruned"] or budget.full or peer.syn() is None:
            break
        peer.ack()
        flow = crowd.accept()
        flow.changed = wakes_nobody
        way(crowd, peer, flow)
        if Tcb(flow).orphaned:
            flow.changed = None
            crowd.act(flow)
        else:
            sockets.append(flow)
        del flow
        peer.answer, crowd.latest = None, []
        if not most and budget.used > budget.limit * 7 // 8:
            most = allocated() - before
            assert most < budget.used * 1.5 + CONSTANT
    most = allocated() - before
    assert most < budget.used * 1.5 + CONSTANT


def test_what_is_on_its_way_to_ourselves_is_bounded_and_what_is_lost_comes_again() -> None:
    """A copy of what is accounted, of all connections at once: so there is room for so much."""
    crowd = Crowd(CONFIG, limits=Limits(memory=1 << 30), backlog=4096, offload=True)
    crowd.stack.set_tap(None)
    looped = crowd.stack.output.looped

    def flush() -> None:
        crowd.flush()
        assert sum(map(len, looped)) <= MOST_LOOPED

    for number in range(1, 300):
        crowd.stack.output.emit(OURS, [bytes(1 << 16)], crowd.now)
        assert sum(map(len, looped)) <= MOST_LOOPED
        lost = number - len(looped)
    assert crowd.statistics["lost_to_full_link"] == lost > 0
    client = crowd.stack.connect(OURS, PORT, crowd.now)
    flush()
    assert crowd.statistics["lost_to_full_link"] == lost + 1
    crowd.advance(5)
    server = crowd.accept()
    assert client.state is State.ESTABLISHED
    client.send(b"it came again", crowd.now)
    crowd.act(client)
    crowd.advance(5)
    assert server.receive(100) == b"it came again"


SCRIPT: Final = """
    import gc
    import tests.tcp.test_resident as resident

    def resident_size():
        gc.collect()
        with open("/proc/self/statm") as statm:
            return int(statm.read().split()[1]) * 4096

    way = getattr(resident, "{way}")
    crowd = resident.Crowd(
        resident.CROWDED, limits=resident.Limits(memory=8 << 20), backlog=4096, offload=True
    )
    crowd.stack.set_tap(None)
    peers, sockets = crowd.peers(4096), []
    before = resident_size()
    for peer in peers:
        if crowd.stack.memory.budget.full or peer.syn() is None:
            break
        peer.ack()
        sockets.append(crowd.accept())
        sockets[-1].changed = resident.wakes_nobody
        way(crowd, peer, sockets[-1])
    crowd.latest = []
    print(crowd.stack.statistics()["memory_held"], resident_size() - before)
"""


@pytest.mark.parametrize(
    "way", [overlapping_on_the_left, unacknowledged], ids=lambda way: way.__name__
)
def test_what_is_accounted_bounds_what_the_system_gives_the_process(
    way: Callable[[Crowd, Peer, Flow], None],
) -> None:
    held, size = map(int, run(SCRIPT.format(way=way.__name__)).split())
    assert held >= 8 << 20
    assert size < held * 1.5 + (2 << 20)
