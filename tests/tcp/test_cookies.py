"""SYN cookies: what they remember, for how long, and that nothing else does (RFC 4987)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tcp.crowd import CONFIG, ISN_STEP, Crowd
from tests.tcp.inspection import Tcb
from tunstack.stack.limits import Limits
from tunstack.tcp.config import Config
from tunstack.tcp.connection.state import State
from tunstack.tcp.connection.verdict import Verdict
from tunstack.tcp.listen.cookies import LIFETIME, PERIOD, SynCookies
from tunstack.tcp.listen.listener import SYN_QUEUE_SIZES
from tunstack.tcp.segment import ACK, FIN, PSH, RST, SYN, Segment

pytestmark = pytest.mark.rfc("4987:3.6")

SECRET: Final = bytes(range(32))
NAME: Final = b"\xc6\x33\x64\x02\xc6\x33\x64\x07\x00\x50\x10\x00"
MASK: Final = 2**32 - 1
ALWAYS: Final = Limits(syncookies="always")
examples = settings(derandomize=True, max_examples=200)
numbers = st.integers(0, MASK)
maybe = st.none() | st.integers(0, 255)
syns = st.builds(
    Segment,
    numbers,
    flags=st.just(SYN),
    mss=st.none() | st.integers(0, 65535),
    wscale=maybe,
    sack_permitted=st.booleans(),
    ts_val=st.none() | numbers,
)
configs = st.builds(
    Config, timestamps=st.booleans(), window_scaling=st.booleans(), sack=st.booleans()
)


def ack_of(answer: Segment, syn: Segment) -> Segment:
    """What an honest peer answers."""
    ack = Segment(answer.ack, (answer.seq + 1) & MASK, ACK)
    if answer.ts_val is not None:
        assert syn.ts_val is not None
        ack.ts_val, ack.ts_ecr = (syn.ts_val + 1) & MASK, answer.ts_val
    return ack


# The cookie itself


@examples
@given(syns, configs, numbers, st.floats(0, 1e7))
def test_what_was_agreed_on_is_remembered(
    syn: Segment, config: Config, clock: int, now: float
) -> None:
    cookies = SynCookies(SECRET)
    answer = cookies.make_syn_ack(NAME, syn, config, clock, now)
    recalled = cookies.check(NAME, ack_of(answer, syn), config, now)
    assert recalled is not None
    timestamps = config.timestamps and syn.ts_val is not None
    assert (answer.ts_val is not None) is timestamps
    assert recalled.seq == syn.seq
    assert recalled.flags == SYN
    assert recalled.sack_permitted is (timestamps and config.sack and syn.sack_permitted)
    if timestamps and config.window_scaling and syn.wscale is not None:
        assert recalled.wscale == min(syn.wscale, 14)
    else:
        assert recalled.wscale is None
    assert recalled.mss is not None
    assert recalled.mss <= max(syn.mss or 536, 48)  # No less than what we ever send.


@pytest.mark.parametrize(
    ("mss", "remembered"),
    [
        (None, 536), (0, 536), (10, 48), (535, 48), (536, 536), (1219, 536), (1220, 1220),
        (1399, 1360), (1400, 1400), (1459, 1440), (1460, 1460), (8959, 1460), (8960, 8960),
        (65535, 8960),
    ],
)  # fmt: skip
def test_the_mss_is_rounded_down(mss: int | None, remembered: int) -> None:
    cookies = SynCookies(SECRET)
    syn = Segment(7, flags=SYN, mss=mss)
    answer = cookies.make_syn_ack(NAME, syn, CONFIG, 0, 0.0)
    recalled = cookies.check(NAME, ack_of(answer, syn), CONFIG, 0.0)
    assert recalled is not None
    assert recalled.mss == remembered


@pytest.mark.parametrize(("begin", "lives"), [(0.0, LIFETIME), (PERIOD - 1, PERIOD + 1)])
def test_a_cookie_is_valid_for_one_to_two_periods(begin: float, lives: float) -> None:
    cookies = SynCookies(SECRET)
    syn = Segment(7, flags=SYN, mss=1460)
    ack = ack_of(cookies.make_syn_ack(NAME, syn, CONFIG, 0, begin), syn)
    assert cookies.check(NAME, ack, CONFIG, begin + lives - 0.001) is not None
    assert cookies.check(NAME, ack, CONFIG, begin + lives) is None


@examples
@given(syns, st.integers(1, MASK), numbers)
def test_nothing_in_it_can_be_changed(syn: Segment, by: int, clock: int) -> None:
    """One of 2**28 guesses is right by chance."""
    cookies = SynCookies(SECRET)
    ack = ack_of(cookies.make_syn_ack(NAME, syn, CONFIG, clock, 0.0), syn)
    forgeries = [
        replace(ack, seq=(ack.seq + by) & MASK),
        replace(ack, ack=(ack.ack ^ 1 << 3 + by % 29)),
    ]
    if ack.ts_val is None:
        forgeries.append(replace(ack, ts_val=by, ts_ecr=clock))
    else:
        forgeries.append(replace(ack, ts_val=None))
        forgeries.append(replace(ack, ts_ecr=ack.ts_ecr ^ 1 << by % 6))
    for forgery in forgeries:
        assert cookies.check(NAME, forgery, CONFIG, 0.0) is None
    assert cookies.check(NAME[:-1] + b"\x01", ack, CONFIG, 0.0) is None
    assert SynCookies(bytes(32)).check(NAME, ack, CONFIG, 0.0) is None
    other = replace(CONFIG, receive_buffer=64 << 20)  # Whose window would be scaled otherwise.
    assert cookies.check(NAME, ack, other, 0.0) is None


@examples
@given(syns, numbers)
def test_the_timestamp_encodes_options_and_remains_a_timestamp(syn: Segment, clock: int) -> None:
    """It is not after the clock, so that what follows is not before it; and close to it."""
    answer = SynCookies(SECRET).make_syn_ack(NAME, syn, CONFIG, clock, 0.0)
    if answer.ts_val is not None:
        assert (clock - answer.ts_val) & MASK < 64
        assert answer.ts_ecr == syn.ts_val


def test_its_isn_reveals_nothing() -> None:
    """Not even that they are cookies: every bit is set as often as not."""
    cookies = SynCookies(SECRET)
    isns = [
        cookies.make_syn_ack(NAME, Segment(irs, flags=SYN, mss=1460), CONFIG, 0, 0.0).seq
        for irs in range(4096)
    ]
    assert len(set(isns)) > 4090
    for bit in range(32):
        assert 1850 < sum(isn >> bit & 1 for isn in isns) < 2250


# In a stack


@pytest.mark.parametrize("timestamps", [False, True])
@pytest.mark.parametrize("scaling", [False, True])
@pytest.mark.parametrize("sack", [False, True])
@pytest.mark.parametrize("ts_val", [None, 5000])
@pytest.mark.parametrize("mss", [None, 100, 1460])
def test_a_peer_does_not_see_that_it_got_a_cookie(
    timestamps: bool, scaling: bool, sack: bool, ts_val: int | None, mss: int | None
) -> None:
    """But by what it cannot remember without timestamps."""
    config = replace(CONFIG, timestamps=timestamps, window_scaling=scaling, sack=sack)
    usual, cookie = (
        Crowd(config, limits=limits).peer(ts_val=ts_val, mss=mss).syn() for limits in (None, ALWAYS)
    )
    assert usual is not None
    assert cookie is not None
    if not timestamps or ts_val is None:
        usual.sack_permitted, usual.wscale = False, None
    assert replace(cookie, seq=0, ts_val=None) == replace(usual, seq=0, ts_val=None)
    assert (cookie.ts_val is None) is (usual.ts_val is None)


def test_when_too_many_are_half_open_cookies_are_sent_and_nothing_is_kept() -> None:
    crowd = Crowd(backlog=0)
    for peer in crowd.peers(SYN_QUEUE_SIZES.start):
        peer.syn()
    held = crowd.statistics["memory_held"]
    for peer in crowd.peers(1000):
        assert peer.syn() is not None
    statistics = crowd.statistics
    assert statistics["half_open"] == 256
    assert statistics["syncookies_sent"] == statistics["tcp_syn_cookie"] == 1000
    assert statistics["memory_held"] == held
    assert len(crowd.stack.demux.connections) == 256
    again = crowd.advance(1.5)
    assert len(again) == 256  # Nobody repeats what nobody remembers.


def test_a_connection_by_cookie_evicts_no_half_open_one() -> None:
    crowd = Crowd(backlog=0)
    waiting = crowd.peers(SYN_QUEUE_SIZES.start)
    for peer in waiting:
        peer.syn()
    honest = crowd.peer()
    honest.syn()
    assert honest.ack() == []
    assert crowd.accept().four_tuple.remote_port == honest.sport
    assert crowd.statistics["half_open"] == 256
    assert "half_open_dropped" not in crowd.statistics


def test_its_ack_opens_the_connection_as_it_should_have_been() -> None:
    crowd = Crowd(limits=ALWAYS)
    peer = crowd.peer(mss=1400, wscale=3)
    peer.syn()
    assert crowd.flow(peer) is None
    crowd.observed.clear()
    assert peer.ack(wnd=1000) == []
    [observation] = crowd.observed
    assert observation.before == State.SYN_RECEIVED.value
    assert observation.after == State.ESTABLISHED.value
    flow = crowd.accept()
    assert flow.state is State.ESTABLISHED
    assert flow.passive
    assert (Tcb(flow).snd_mss, Tcb(flow).snd_wscale, Tcb(flow).rcv_wscale) == (1388, 3, 7)
    assert (Tcb(flow).sack_ok, Tcb(flow).timestamps_ok) == (True, True)
    assert Tcb(flow).snd_wnd == 8000
    assert flow.deadline() is None
    statistics = crowd.statistics
    assert statistics["syncookies_sent"] == statistics["syncookies_received"] == 1
    assert "half_open" not in statistics


def test_without_timestamps_neither_scaling_nor_sack_survives() -> None:
    crowd = Crowd(limits=ALWAYS)
    peer = crowd.peer(ts_val=None)
    answer = peer.syn()
    assert answer is not None
    assert (answer.wscale, answer.sack_permitted) == (None, False)
    peer.ack()
    flow = crowd.accept()
    assert (Tcb(flow).snd_mss, Tcb(flow).snd_wscale, Tcb(flow).rcv_wscale) == (1460, 0, 0)
    assert (Tcb(flow).sack_ok, Tcb(flow).timestamps_ok) == (False, False)


def test_data_may_come_in_place_of_the_ack_and_both_ways_go_on() -> None:
    """The ACK was lost; what the peer sends next brings the cookie as well."""
    crowd = Crowd(limits=ALWAYS)
    peer = crowd.peer()
    peer.syn()
    peer.send(b"GET /")
    flow = crowd.accept()
    assert flow.receive(100) == b"GET /"
    flow.send(b"200 OK", crowd.now)
    [answer] = crowd.act(flow)
    assert answer.segment.payload == b"200 OK"
    assert answer.segment.ack == peer.nxt
    assert answer.segment.seq == peer.expected
    peer.expected += 6
    peer.ack(FIN | ACK)
    assert flow.state is State.CLOSE_WAIT


@pytest.mark.parametrize("ts_val", [None, 5000])
def test_it_measures_no_round_trip_that_it_cannot_know(ts_val: int | None) -> None:
    """Only a timestamp tells when the cookie was sent; to 64 ms, which are the cookie's."""
    crowd = Crowd(limits=ALWAYS)
    peer = crowd.peer(ts_val=ts_val)
    peer.syn()
    crowd.advance(0.1)
    peer.ack()
    tcb = Tcb(crowd.accept())
    if ts_val is None:
        assert (tcb.srtt, tcb.rto) == (None, 1.0)
    else:
        assert tcb.srtt is not None
        assert 0.1 <= tcb.srtt < 0.165


def test_timestamps_never_go_back() -> None:
    """The connection's first is not before the cookie's, which the peer has seen (RFC 7323)."""
    for tick in range(100):
        crowd = Crowd(limits=ALWAYS)
        crowd.now += tick / 1000
        peer = crowd.peer()
        answer = peer.syn()
        [ack] = peer.ack(FIN | ACK)
        assert answer is not None
        assert answer.ts_val is not None
        assert ack.ts_val is not None
        assert (ack.ts_val - answer.ts_val) & MASK < 64


@pytest.mark.parametrize("step", [-9, 9, 12345])
def test_a_wrong_cookie_draws_a_reset(step: int) -> None:
    crowd = Crowd(limits=ALWAYS)
    peer = crowd.peer()
    peer.syn()
    wrong = (peer.expected + step) & MASK
    [reset] = peer.ack(ack=wrong)
    assert (reset.flags, reset.seq) == (RST, wrong)
    assert len(crowd.listener) == 0
    assert crowd.statistics["syncookies_failed"] == 1
    assert peer.ack() == []  # While the right one still opens.
    assert len(crowd.listener) == 1


@pytest.mark.parametrize("flags", [ACK | RST, SYN | ACK, FIN, PSH])
def test_only_an_ack_brings_it_back(flags: int) -> None:
    crowd = Crowd(limits=ALWAYS)
    peer = crowd.peer()
    peer.syn()
    peer.ack(flags)
    assert len(crowd.listener) == 0
    assert "syncookies_received" not in crowd.statistics


def test_no_cookie_is_accepted_unless_sent_lately() -> None:
    """As on Linux: who has nothing to do but guess is not even listened to."""
    crowd = Crowd(limits=ALWAYS)
    peer, late = crowd.peers(2)
    peer.syn()
    late.syn()
    crowd.listener.cookies_until = crowd.now
    [reset] = peer.ack()
    assert reset.flags == RST
    assert "syncookies_failed" not in crowd.statistics
    crowd.peer().syn()  # That was one more.
    assert late.ack() == []
    assert len(crowd.listener) == 1
    crowd.now += LIFETIME
    [reset] = crowd.peer().ack()
    assert reset.flags == RST
    assert "syncookies_failed" not in crowd.statistics


def test_its_ack_is_dropped_while_too_many_wait_to_be_accepted() -> None:
    crowd = Crowd(limits=ALWAYS, backlog=0)
    first, second = crowd.peers(2)
    for peer in (first, second):
        peer.syn()
    assert first.ack() == []
    assert second.ack() == []
    assert crowd.flow(second) is None
    assert crowd.statistics["tcp_backlog_full"] == 1
    crowd.accept()
    second.send(b"still here")
    assert crowd.accept().receive(100) == b"still here"


def test_a_connection_in_time_wait_is_reopened_without_a_cookie() -> None:
    """Its peer was real; and our numbers must be beyond the old ones (RFC 9293 3.6.1)."""
    crowd = Crowd()
    peer, flow = crowd.connected()
    flow.shutdown()
    crowd.act(flow)
    peer.expected += 1
    peer.ack(FIN | ACK)
    assert flow.state is State.TIME_WAIT
    for other in crowd.peers(SYN_QUEUE_SIZES.start):
        other.syn()
    peer.isn = peer.nxt + 1000
    peer.offer["ts_val"] += 1000
    answer = peer.syn()
    assert answer is not None
    assert (answer.seq - Tcb(flow).snd_nxt) & MASK == ISN_STEP
    assert "syncookies_sent" not in crowd.statistics


# The policies


def test_never_a_cookie_but_the_oldest_goes() -> None:
    """RFC 4987 section 3.4. Who was given up hears so when it comes back."""
    crowd = Crowd(limits=Limits(syncookies="never"), backlog=0)
    peers = crowd.peers(257)
    for peer in peers:
        assert peer.syn() is not None
    assert crowd.statistics["half_open"] == 256
    assert crowd.statistics["half_open_dropped"] == 1
    [reset] = peers[0].ack()
    assert reset.flags == RST
    assert peers[1].ack() == []
    assert len(crowd.listener) == 1


def test_a_peer_connects_during_a_flood_without_cookies() -> None:
    """As long as it answers before the flood has gone once around."""
    crowd = Crowd(limits=Limits(syncookies="never"), backlog=0)
    for peer in crowd.peers(1000):
        peer.syn()
    honest = crowd.peer()
    honest.syn()
    for peer in crowd.peers(255):
        peer.syn()
    assert honest.ack() == []
    assert len(crowd.listener) == 1


@pytest.mark.parametrize(
    "wrong",
    [{"syncookies": "sometimes"}, {"memory": 0}, {"connections": -1}, {"half_open": 0}],
)
def test_limits_make_sense(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Limits(**wrong)


def test_the_tap_gets_the_verdict() -> None:
    crowd = Crowd(limits=ALWAYS)
    crowd.peer().syn()
    arrived, sent = crowd.observed
    assert arrived.verdict == Verdict.SYN_COOKIE
    assert (arrived.direction, sent.direction) == ("in", "out")
