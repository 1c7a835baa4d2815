"""The gate that a host's packets pass, sans-IO: each action, their order, and what waits."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import pytest

from tunstack import Packet, Rule, Rules
from tunstack.ip.demux import FourTuple
from tunstack.path.rules import gate as gate_module
from tunstack.path.rules.bound import BoundRules
from tunstack.path.rules.gate import COUNTERS, Gate
from tunstack.path.rules.known import Known
from tunstack.path.rules.silence import Silence
from tunstack.wire import decode_datagram, decode_icmp, decode_segment

if TYPE_CHECKING:
    from collections.abc import Callable

    from tunstack import TcpInfo

OURS, THEIRS = "198.51.100.2", "198.51.100.1"
HERE, THERE = (OURS, 80), (THEIRS, 4711)
OF_ONE = {"local": OURS, "local_port": 80, "remote": THEIRS, "remote_port": 4711}


class Bench:
    """A gate with its rules, at a time that the test sets.

    Attributes:
        now: Seconds.
        rules: The rules.
        seen: Verdicts, with the packet's direction and payload.
        failures: What functions raised.
        injected: What was injected.
        known: The connections that the host has.
    """

    def __init__(self, seed: int | None = 1) -> None:
        self.now = 0.0
        self.seen: list[tuple[str, str, bytes | None]] = []
        self.failures: list[Exception] = []
        self.injected: list[Packet] = []
        self.woken = 0
        self.known: dict[FourTuple, Known] = {}
        self.gate = Gate(self._observe, self.failures.append, self._wake, self.known.get)
        self.rules = Rules(self, seed)

    def use_gate(self) -> None:
        pass

    def inject(self, packet: Packet) -> None:
        self.injected.append(packet)

    def _observe(self, packet: Packet, verdict: str, now: float) -> None:
        assert now == self.now
        self.seen.append((verdict, packet.direction, packet.payload))

    def _wake(self) -> None:
        self.woken += 1

    def put(self, *packets: Packet) -> list[Packet]:
        """What passes at once."""
        return [each for packet in packets for each in self.gate.put(packet, self.now)]

    def due(self, now: float | None = None) -> list[Packet]:
        """What is due, at once or at a later time."""
        self.now = self.now if now is None else now
        return self.gate.due(self.now)

    def counts(self) -> dict[str, int]:
        assert self.gate.counts.keys() <= {*COUNTERS}
        return {name: count for name, count in self.gate.counts.items() if count}


@pytest.fixture
def bench() -> Bench:
    return Bench()


def segment(direction: str = "in", payload: bytes = b"", **fields: Any) -> Packet:
    (source, sport), (destination, dport) = (THERE, HERE) if direction == "in" else (HERE, THERE)
    return Packet.tcp(
        source=source,
        destination=destination,
        source_port=sport,
        destination_port=dport,
        payload=payload,
        direction=direction,  # type: ignore[arg-type]
        **fields,
    )


def payloads(packets: list[Packet]) -> list[bytes | None]:
    return [packet.payload for packet in packets]


def numbered(*numbers: int, direction: str = "out") -> list[Packet]:
    return [segment(direction, bytes((number,))) for number in numbers]


def numbers(packets: list[Packet]) -> list[int]:
    return [packet.payload[0] for packet in packets if packet.payload]


def test_without_rules_everything_passes(bench: Bench) -> None:
    packets = [segment("in"), segment("out"), Packet(b"\xff", "in")]
    assert bench.put(*packets) == packets
    assert bench.gate.idle
    assert bench.gate.ignores("in", None)


def test_drop(bench: Bench) -> None:
    rule = bench.rules.drop(direction="in")
    packet = segment("out")
    assert bench.put(segment("in", b"x"), packet) == [packet]
    assert bench.counts() == {"rules_dropped": 1}
    assert bench.seen == [("dropped by a rule", "in", b"x")]
    assert rule.packets == (segment("in", b"x"),)


def test_delay(bench: Bench) -> None:
    bench.rules.delay(0.5)
    first, second = numbered(1, 2)
    assert bench.put(first) == []
    bench.now = 0.25
    assert bench.put(second) == []
    assert bench.gate.next_due == 0.5
    assert bench.due(0.49) == []
    assert bench.due(0.5) == [first]
    assert bench.due(0.75) == [second]
    assert bench.gate.next_due == float("inf")
    assert bench.counts() == {"rules_delayed": 2}
    assert bench.seen == [("delayed by a rule", "out", b"\1"), ("delayed by a rule", "out", b"\2")]


def test_what_is_delayed_on_its_way_in_is_reported_when_it_comes(bench: Bench) -> None:
    bench.rules.delay(0.5)
    bench.put(segment("in", b"x"))
    assert bench.seen == [("delayed by a rule", "in", b"x")]
    assert len(bench.due(1)) == 1
    assert len(bench.seen) == 1


def test_a_random_delay_is_seeded() -> None:
    def delays(seed: int) -> list[float]:
        bench = Bench(seed)
        bench.rules.delay((0.1, 0.2))
        times = []
        for packet in numbered(*range(20)):
            bench.put(packet)
            times.append(bench.gate.next_due)
            bench.due(1)
            bench.now = 0
        return times

    assert delays(1) == delays(1) != delays(2)
    assert all(0.1 <= delay <= 0.2 for delay in delays(1))


def test_a_rule_draws_the_same_whatever_other_rules_do() -> None:
    def dropped(*, other: bool) -> list[int]:
        bench = Bench()
        if other:
            bench.rules.delay((0, 1), direction="in")
        else:
            bench.rules.drop(direction="in")
        bench.rules.drop(probability=0.5, direction="out")
        for packet in numbered(*range(50), direction="in"):
            bench.put(packet)
        return numbers(bench.put(*numbered(*range(50))))

    assert dropped(other=True) == dropped(other=False)


def test_hold_and_release(bench: Bench) -> None:
    rule = bench.rules.hold(direction="out")
    packets = numbered(1, 2, 3)
    assert bench.put(*packets) == []
    assert bench.due() == []
    assert rule.release(1) == 1
    assert bench.woken == 1
    assert bench.due() == packets[:1]
    assert rule.release() == 2
    assert bench.due() == packets[1:]
    assert rule.release() == 0
    assert bench.counts() == {"rules_held": 3}


def test_a_hold_that_is_removed_lets_its_packets_go(bench: Bench) -> None:
    packets = numbered(1, 2)
    with bench.rules.hold():
        assert bench.put(*packets) == []
    assert bench.due() == packets
    assert bench.gate.idle


def test_only_a_hold_can_be_released(bench: Bench) -> None:
    with pytest.raises(ValueError, match=r"holds nothing: only a rule of rules.hold\(\) does"):
        bench.rules.drop().release()
    with pytest.raises(ValueError, match="no -1 packets can be released"):
        bench.rules.hold().release(-1)


def test_what_is_released_meets_the_later_rules_alone(bench: Bench) -> None:
    earlier = bench.rules.call(lambda packet: packet)
    hold = bench.rules.hold()
    later = bench.rules.call(lambda packet: packet)
    bench.put(*numbered(1))
    hold.release()
    bench.due()
    assert (earlier.matched, hold.matched, later.matched) == (1, 1, 1)


def test_postpone(bench: Bench) -> None:
    bench.rules.postpone(2, nth=1)
    assert numbers(bench.put(*numbered(1, 2))) == [2]
    assert bench.put(segment("in", b"\7")) == [segment("in", b"\7")]  # Of the other direction.
    assert numbers(bench.put(*numbered(3, 4))) == [3, 1, 4]
    assert bench.counts() == {"rules_postponed": 1}
    assert bench.seen == [("postponed by a rule", "out", b"\1")]


def test_packets_that_were_postponed_do_not_overtake_each_other(bench: Bench) -> None:
    bench.rules.postpone(1, first=2)
    assert numbers(bench.put(*numbered(1, 2, 3, 4))) == [3, 1, 2, 4]


def test_a_postponed_packet_that_nothing_follows_goes_when_the_rule_does(bench: Bench) -> None:
    rule = bench.rules.postpone()
    assert bench.put(*numbered(1)) == []
    assert not bench.gate.ignores("out", b"")
    rule.remove()
    assert numbers(bench.due()) == [1]
    assert bench.gate.idle


def test_duplicate(bench: Bench) -> None:
    bench.rules.duplicate(2, nth=2)
    assert numbers(bench.put(*numbered(1, 2, 3))) == [1, 2, 2, 2, 3]
    assert bench.counts() == {"rules_duplicated": 1}
    assert bench.seen == [("duplicated by a rule", "out", b"\2")] * 2


@pytest.mark.parametrize(("octet", "at"), [(0, 0), (25, 25), (-1, 44)])
def test_damage_of_an_octet(bench: Bench, octet: int, at: int) -> None:
    bench.rules.damage(octet)
    packet = segment("out", b"hello")
    (damaged,) = bench.put(packet)
    differ = [n for n, (a, b) in enumerate(zip(damaged.data, packet.data, strict=True)) if a != b]
    assert differ == [at]
    assert damaged.data[at] == packet.data[at] ^ 0xFF


def test_damage_at_random_flips_one_bit() -> None:
    def damaged(seed: int) -> list[bytes]:
        bench = Bench(seed)
        bench.rules.damage()
        return [packet.data for packet in bench.put(*[segment("out", b"hello")] * 20)]

    intact = int.from_bytes(segment("out", b"hello").data, "big")
    assert all((int.from_bytes(data, "big") ^ intact).bit_count() == 1 for data in damaged(1))
    assert damaged(1) == damaged(1) != damaged(2)


def test_a_packet_without_that_octet_is_not_damaged(bench: Bench) -> None:
    rule = bench.rules.damage(44)
    assert len(bench.put(segment("out", b"1234"), segment("out", b"12345"))) == 2
    assert rule.matched == 1


def test_change(bench: Bench) -> None:
    bench.rules.change({"ttl": 3, "ack": lambda packet: packet.ack + 1000}, direction="out")
    (changed,) = bench.put(segment("out", b"x", ack=5))
    assert (changed.ttl, changed.ack) == (3, 1005)
    decode_segment(decode_datagram(changed.data))
    assert bench.counts() == {"rules_changed": 1}
    assert bench.seen == [("changed by a rule", "out", b"x")]


def test_of_a_change_in_what_came_is_reported(bench: Bench) -> None:
    bench.rules.change({"payload": b"y"})
    assert payloads(bench.put(segment("in", b"x"))) == [b"y"]
    assert bench.seen == [("changed by a rule", "in", b"x")]


def test_a_packet_that_lacks_a_field_is_not_changed(bench: Bench) -> None:
    rule = bench.rules.change({"payload": b"x"})
    source = bench.rules.change({"source": "2001:db8::1"})
    ping = segment("in").icmp_error("prohibited")
    for packet in (Packet(b"\x60", "in"), segment("in")):
        bench.put(packet)
    assert bench.put(ping) != [ping]
    assert (rule.matched, source.matched) == (2, 0)


@pytest.mark.parametrize(
    ("fields", "selection", "message"),
    [
        ({}, {}, "change needs a field"),
        ({"sequence": 1}, {}, "no packet has a field 'sequence'; there are source, destination"),
        ({"window": 65536}, {}, "window must be a number from 0 to 65535, not 65536"),
        ({"flags": "SIN"}, {}, "TCP has no flag 'SIN'"),
        ({"source": "peer"}, {}, "'peer' does not appear to be an IPv4 or IPv6 address"),
        ({"seq": 1}, {"protocol": "udp"}, "only TCP has seq: a rule for udp never applies"),
        ({"icmp_type": 1}, {"protocol": "tcp"}, "only ICMP has icmp_type: a rule for tcp"),
        ({"icmp_type": 1, "seq": 1}, {}, "no packet has all the fields icmp_type, seq"),
    ],
)
def test_a_change_that_no_packet_allows_is_refused(
    bench: Bench, fields: dict[str, object], selection: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        bench.rules.change(fields, **selection)
    assert not bench.rules


def test_split(bench: Bench) -> None:
    bench.rules.split(2)
    results = bench.put(segment("out", b"hello", seq=7, flags="FIN,PSH,ACK"))
    assert payloads(results) == [b"he", b"llo"]
    assert [packet.seq for packet in results] == [7, 9]
    assert [packet.flags for packet in results] == ["ACK", "FIN,PSH,ACK"]
    for packet in results:
        decode_segment(decode_datagram(packet.data))
    assert bench.counts() == {"rules_split": 1}


def test_split_of_a_syn_and_of_urgent_data(bench: Bench) -> None:
    bench.rules.split(2)
    results = bench.put(segment("out", b"hello", seq=7, flags="SYN,URG", urgent=4))
    assert [(packet.seq, packet.flags) for packet in results] == [(7, "SYN,URG"), (10, "URG")]
    assert [packet.urgent for packet in results] == [4, 2]
    results = bench.put(segment("out", b"hello", flags="URG,ACK", urgent=2))
    assert [packet.flags for packet in results] == ["ACK,URG", "ACK"]


def test_a_segment_that_is_too_short_is_not_split(bench: Bench) -> None:
    rule = bench.rules.split(5)
    packet = segment("out", b"hello")
    assert bench.put(packet) == [packet]
    assert rule.matched == 0


def test_answer_with_a_reset(bench: Bench) -> None:
    bench.rules.answer("reset", direction="in")
    (reset,) = bench.put(segment("in", flags="SYN", seq=7))
    assert (reset.direction, reset.flags, reset.ack) == ("out", "RST,ACK", 8)
    assert bench.counts() == {"rules_answered": 1}
    assert bench.seen == [("answered by a rule", "in", b""), ("made by a rule", "out", b"")]
    ours = segment("in", flags="RST")
    assert bench.put(ours) == [ours]


@pytest.mark.parametrize("kind", ["port-unreachable", "fragmentation-needed(1280)"])
def test_answer_with_an_icmp_error(bench: Bench, kind: str) -> None:
    bench.rules.answer(kind, protocol="tcp")
    (error,) = bench.put(segment("out", flags="SYN"))
    assert error.direction == "in"
    assert decode_icmp(decode_datagram(error.data)).quoted is not None
    (other,) = bench.put(error)
    assert other is error  # It is no segment.


def test_no_icmp_error_answers_another(bench: Bench) -> None:
    rule = bench.rules.answer("prohibited")
    error = segment("in").icmp_error("prohibited")
    assert bench.put(error, Packet(b"", "in")) == [error, Packet(b"", "in")]
    assert rule.matched == 0


def test_answer_with_packets_of_ones_own(bench: Bench) -> None:
    mine = [segment("out", b"1"), segment("in", b"2")]
    bench.rules.answer(mine, flags="SYN", nth=1)
    bench.rules.answer(mine[0], flags="SYN", nth=1)
    bench.rules.answer(lambda packet: packet.reset(), flags="SYN", nth=1)
    rule = bench.rules.answer(lambda packet: None, flags="SYN")
    syn = segment("in", flags="SYN")
    assert [(each.direction, each.payload) for each in bench.put(syn)] == [
        ("out", b"1"),
        ("out", b"2"),
    ]
    assert payloads(bench.put(syn)) == [b"1"]
    assert [packet.flags for packet in bench.put(syn)] == ["RST,ACK"]
    assert bench.put(syn) == []
    assert rule.matched == 1


@pytest.mark.parametrize(
    ("answer", "selection", "message"),
    [
        ("rst", {}, "there is no answer 'rst'; there are reset, network-unreachable"),
        ("fragmentation-needed", {}, "needs an MTU"),
        ("reset", {"protocol": "udp"}, "only TCP has resets: a rule for udp never applies"),
    ],
)
def test_an_answer_that_cannot_be_given_is_refused(
    bench: Bench, answer: str, selection: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        bench.rules.answer(answer, **selection)
    with pytest.raises(TypeError, match="expected a Packet, a sequence of them or None, not 5"):
        bench.rules.answer(5)  # type: ignore[arg-type]


def test_impair(bench: Bench) -> None:
    bench.rules.impair("delay=20ms,out:loss=100%", local_port=80)
    packet = segment("in")
    assert bench.put(packet, segment("out")) == []
    assert bench.counts() == {"rules_delayed": 1, "rules_lost": 1}
    assert bench.due(0.02) == [packet]


def test_an_impaired_path_duplicates_and_damages(bench: Bench) -> None:
    bench.rules.impair("duplicate=100%,corrupt=100%")
    results = bench.put(segment("out", b"hello"))
    assert len(results) == 2
    assert segment("out", b"hello") not in results
    assert bench.counts() == {"rules_duplicated": 1, "rules_damaged": 2}


def test_an_impaired_path_is_as_wide_as_its_rate(bench: Bench) -> None:
    bench.rules.impair("rate=8kbit")
    packets = [segment("out", bytes(960))] * 3  # A second each.
    assert bench.put(*packets) == []
    assert [len(bench.due(at)) for at in (0.9, 1, 2, 3)] == [0, 1, 1, 1]


def test_call_may_return_packets_of_both_directions(bench: Bench) -> None:
    bench.rules.call(lambda packet: [packet.reset(), packet, packet], direction="in")
    later = bench.rules.call(lambda packet: packet)
    results = bench.put(segment("in"))
    assert [packet.direction for packet in results] == ["out", "in", "in"]
    assert later.matched == 2  # What was sent back is seen by no rule.


@pytest.mark.parametrize(
    "fails",
    [
        lambda rules, broken: rules.drop(where=broken),
        lambda rules, broken: rules.call(broken),
        lambda rules, broken: rules.answer(broken),
        lambda rules, broken: rules.change({"ttl": broken}),
    ],
)
def test_a_function_that_raises_drops_its_packet_and_ends_its_rule(
    bench: Bench, fails: Callable[[Rules, Callable[[Packet], Any]], Rule]
) -> None:
    error = ZeroDivisionError()

    def broken(packet: Packet) -> Any:
        raise error

    rule = fails(bench.rules, broken)
    packet = segment("in", b"x")
    assert bench.put(packet) == []
    assert bench.failures == [error]
    assert bench.counts() == {"rule_failed": 1}
    assert bench.seen == [("dropped: a rule failed", "in", b"x")]
    assert rule.removed
    assert bench.put(packet) == [packet]


def test_what_is_no_packet_is_a_failure(bench: Bench) -> None:
    bench.rules.call(lambda packet: b"data")  # type: ignore[arg-type, return-value]
    assert bench.put(segment()) == []
    (error,) = bench.failures
    assert str(error).endswith("expected a Packet, a sequence of them or None, not b'data'")


def test_rules_of_one_connection_keep_their_place_among_the_others(bench: Bench) -> None:
    seen = []

    def note(name: str) -> Callable[[Packet], Packet]:
        def function(packet: Packet) -> Packet:
            seen.append(name)
            return packet

        return function

    exact = {"local": OURS, "remote": THEIRS, "local_port": 80, "remote_port": 4711}
    bench.rules.call(note("first"), **exact)  # type: ignore[arg-type]
    bench.rules.call(note("second"))
    bench.rules.call(note("third"), **exact, direction="in")  # type: ignore[arg-type]
    bench.put(segment("in"))
    assert seen == ["first", "second", "third"]
    seen.clear()
    bench.put(segment("out"))
    assert seen == ["first", "second"]


def test_a_gate_ignores_connections_that_no_rule_is_about(bench: Bench) -> None:
    exact = {"local": OURS, "remote": THEIRS, "local_port": 80}
    rule = bench.rules.drop(**exact, remote_port=4711)  # type: ignore[arg-type]
    key = rule.matcher.key
    assert key is not None
    assert not bench.gate.ignores("in", key)
    assert not bench.gate.ignores("in", None)
    assert bench.gate.ignores("in", key[:-1] + b"\0")
    rule.remove()
    assert bench.gate.ignores("in", key)


def test_what_waits_is_bounded_in_packets(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate_module, "MOST_WAITING", 3)
    rule = bench.rules.hold(direction="in")
    bench.rules.delay(1, direction="out", nth=1)
    bench.rules.postpone(direction="out")
    bench.put(*numbered(1, 2, direction="in"), *numbered(3, 4), *numbered(5, direction="in"))
    assert bench.counts() == {"rules_held": 2, "rules_delayed": 1, "rules_overflowed": 2}
    assert ("dropped: too many packets wait for rules", "in", b"\5") in bench.seen
    rule.release(1)
    assert numbers(bench.due()) == [1]
    bench.put(*numbered(6, direction="in"))
    assert bench.counts()["rules_held"] == 3


def test_what_waits_is_bounded_in_octets(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate_module, "MOST_WAITING_OCTETS", 1000)
    bench.rules.hold()
    for _ in range(3):
        bench.put(segment("in", bytes(400)))
    assert bench.counts() == {"rules_held": 2, "rules_overflowed": 1}


def test_copies_of_copies_are_bounded(bench: Bench) -> None:
    for _ in range(4):
        bench.rules.duplicate(1000)
    passing = bench.put(segment("out", b"x"))
    assert 1000 < len(passing) <= 10_000
    assert bench.counts()["rules_overflowed"] >= 1000


def test_at_the_end_what_is_delayed_is_early(bench: Bench) -> None:
    bench.rules.delay(5)
    bench.rules.impair("delay=1s")
    bench.put(*numbered(1, 2))
    assert numbers(bench.gate.due(0.0, early=True)) == [1, 2]


def test_while_the_cable_is_unplugged_everything_is_lost(bench: Bench) -> None:
    bench.rules.delay(1, nth=1)
    bench.put(*numbered(1))
    bench.gate.unplugged = True
    assert bench.put(segment("in"), segment("out")) == []
    assert bench.due(1) == []
    assert bench.counts() == {"rules_delayed": 1, "rules_unplugged": 3}
    bench.gate.unplugged = False
    assert len(bench.put(segment("in"))) == 1


def test_a_rule_says_what_it_does(bench: Bench) -> None:
    rule = bench.rules.drop(direction="in", flags="SYN,!ACK", nth=2)
    assert repr(rule) == ("<tunstack.Rule drop direction='in' flags='SYN,!ACK' nth=2: matched 0>")
    bench.put(*[segment("in", flags="SYN")] * 2)
    rule.remove()
    rule.remove()
    assert repr(rule).endswith("matched 1, removed>")
    rules = bench.rules
    added = [rules.delay(0.5), rules.delay((1, 2)), rules.hold(), rules.postpone(2)]
    added += [rules.duplicate(), rules.damage(), rules.damage(3), rules.change({"ttl": 1})]
    added += [rules.split(9), rules.answer("reset"), rules.impair("loss=1%"), rules.call(numbers)]  # type: ignore[arg-type]
    texts = [repr(each).removeprefix("<tunstack.Rule ").partition(":")[0] for each in added]
    assert texts == [
        *("delay 0.5 s", "delay 1 to 2 s", "hold", "postpone after 2", "duplicate"),
        *("damage octet at random", "damage octet 3", "change {'ttl'", "split at 9"),
        *("answer reset", "impair loss=1%", "call numbers"),
    ]


@pytest.mark.parametrize(
    ("add", "message"),
    [
        (lambda rules: rules.delay(-1), "delay must be 0 or more seconds"),
        (lambda rules: rules.delay((2, 1)), "delay must be 0 or more seconds"),
        (lambda rules: rules.delay(float("nan")), "delay must be 0 or more seconds"),
        (lambda rules: rules.postpone(0), "after 1 more or several, not after 0"),
        (lambda rules: rules.duplicate(0), "copies must be from 1 to 1000, not 0"),
        (lambda rules: rules.split(0), "split at octet 1 of its payload or later, not 0"),
        (lambda rules: rules.impair("lost=1%"), "there is no impairment 'lost'"),
        (lambda rules: rules.inject(segment(), "up"), 'direction must be "in" or "out"'),
        (lambda rules: rules.damage(1 << 16), "octet must be one of a packet, as 40 or -1"),
    ],
)
def test_what_an_action_cannot_be_is_refused(
    bench: Bench, add: Callable[[Rules], Rule], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        add(bench.rules)
    assert not bench.rules


@pytest.mark.parametrize(
    ("add", "message"),
    [
        (lambda rules: rules.delay("5ms"), "delay must be 0 or more seconds, .*'5ms'"),
        (lambda rules: rules.delay((1,)), r"delay must be 0 or more seconds, .*\(1,\)"),
        (lambda rules: rules.delay(None), "delay must be 0 or more seconds, .*None"),
        (lambda rules: rules.postpone("1"), "after 1 more or several, not after '1'"),
        (lambda rules: rules.postpone(1.5), "after 1 more or several, not after 1.5"),
        (lambda rules: rules.duplicate(True), "copies must be from 1 to 1000, not True"),
        (lambda rules: rules.duplicate("2"), "copies must be from 1 to 1000, not '2'"),
        (lambda rules: rules.damage("x"), "octet must be one of a packet, .*'x'"),
        (lambda rules: rules.split(1.0), "octet 1 of its payload or later, not 1.0"),
        (lambda rules: rules.change(3), "change needs a field, .*3"),
        (lambda rules: rules.answer(3), "expected a Packet, a sequence of them or None, not 3"),
        (lambda rules: rules.impair(3), "impairments are text, Impairments, or a pair .*not 3"),
        (lambda rules: rules.impair((1, 2)), r"impairments are text, .*not \(1, 2\)"),
        (lambda rules: rules.call(3), "call takes a function of a packet, not 3"),
        (lambda rules: rules.inject(3, "out"), "inject takes a Packet, not 3"),
        (lambda rules: rules.drop(direction=1), 'direction must be "in" or "out", not 1'),
        (lambda rules: rules.drop(protocol=[]), r"protocol must be .* or a number, not \[\]"),
        (lambda rules: rules.drop(source=5), "source must be an address or a prefix: '5'"),
        (lambda rules: rules.drop(local_port="80"), "local_port must be from 1 to 65535, not '80'"),
        (lambda rules: rules.drop(flags=3), 'flags must be text such as "SYN,ACK", not 3'),
        (lambda rules: rules.drop(state=3), "a packet's connection is in .*, not in 3"),
        (lambda rules: rules.drop(octets=("a", "b")), r"octets must be .*\('a', 'b'\)"),
        (lambda rules: rules.drop(nth=1.5), "nth must be 1 or more, not 1.5"),
        (lambda rules: rules.drop(every=True), "every must be 1 or more, not True"),
        (lambda rules: rules.drop(probability="1%"), "probability must be above 0 .*not '1%'"),
        (lambda rules: rules.drop(where=3), "where must be a function of a packet, not 3"),
    ],
)
def test_a_value_of_another_type_is_refused_in_a_line_that_has_it(
    bench: Bench, add: Callable[[Rules], object], message: str
) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        add(bench.rules)
    assert not bench.rules


def test_a_rule_remembers_its_last_hundred_packets(bench: Bench) -> None:
    rule = bench.rules.drop()
    bench.put(*numbered(*range(150)))
    assert rule.matched == 150
    assert numbers([*rule.packets]) == [*range(50, 150)]
    assert numbers([*rule.keep(2).packets]) == [148, 149]
    assert rule.keep(0).packets == ()
    bench.put(segment(seq=150))
    assert rule.packets == ()


def test_a_rule_may_be_removed_by_its_own_function(bench: Bench) -> None:
    def once(packet: Packet) -> None:
        rule.remove()

    rule = bench.rules.call(once)
    after = bench.rules.call(lambda packet: packet)
    assert bench.put(segment("in")) == []
    assert bench.put(segment("in")) == [segment("in")]
    assert after.matched == 1


def test_a_packet_injected_goes_its_way(bench: Bench) -> None:
    bench.rules.inject(segment("in"), "out")
    assert [packet.direction for packet in bench.injected] == ["out"]


@pytest.mark.parametrize("selection", [{"first": 2}, {"nth": 2}, {"first": 2, **OF_ONE}])
def test_a_rule_that_can_match_no_more_is_in_nobodys_way(
    bench: Bench, selection: dict[str, Any]
) -> None:
    """It is listed until it is removed, and what it holds is held until then."""
    rule = bench.rules.hold(direction="in", **selection)
    assert bench.put(segment()) == ([] if "first" in selection else [segment()])
    assert not bench.gate.ignores("in", connection().incoming)
    assert bench.put(segment()) == []
    assert bench.gate.ignores("in", connection().incoming)
    assert bench.put(segment()) == [segment()]
    assert bench.gate.rules == [rule]
    assert not rule.removed
    assert not bench.gate.idle  # What is held waits in it.
    held = rule.matched
    assert rule.release(1) == 1
    rule.remove()
    rule.remove()
    assert len(bench.due()) == held
    assert len(bench.rules) == 0
    assert rule.removed
    assert bench.gate.idle


def test_what_a_rule_postpones_as_its_last_is_overtaken(bench: Bench) -> None:
    bench.rules.postpone(1, direction="out", first=1)
    assert numbers(bench.put(*numbered(1))) == []
    assert not bench.gate.ignores("out", connection().incoming)
    assert numbers(bench.put(*numbered(2))) == [2, 1]
    assert bench.gate.ignores("out", connection().incoming)


def test_a_function_is_asked_for_the_last_packet_of_its_rule_too(bench: Bench) -> None:
    bench.rules.call(lambda packet: packet.reset(), flags="SYN", first=1)
    (answer,) = bench.put(segment(flags="SYN"))
    assert answer.direction == "out"
    assert bench.gate.idle


# Of one connection


def connection(port: int = THERE[1]) -> FourTuple:
    """That of the host's port and a port of the peer's."""
    return FourTuple(ip_address(OURS).packed, HERE[1], ip_address(THEIRS).packed, port)


def known_as(number: int, state: str = "ESTABLISHED") -> Known:
    def info() -> TcpInfo:
        raise AssertionError("nobody asks for a snapshot")

    return Known(number, state, None, None, info)


def test_what_has_vanished_stays_silent_when_the_host_has_it_no_more(bench: Bench) -> None:
    bench.known[connection()] = known_as(7)
    bench.gate.silence.add(connection(), 7, ("in", "out"))
    other = segment().replace(source_port=4712)
    for _ in range(2):
        assert bench.put(segment("in", b"x"), segment("out"), other) == [other]
        assert bench.put(segment("in", flags="SYN,ACK"), segment("out", flags="RST")) == []
        bench.known.clear()
    assert bench.counts() == {"rules_dropped": 8}
    assert len(bench.rules) == 0


@pytest.mark.parametrize(("direction", "other"), [("in", "out"), ("out", "in")])
def test_silence_of_one_direction(bench: Bench, direction: Any, other: Any) -> None:
    bench.known[connection()] = known_as(7)
    bench.gate.silence.add(connection(), 7, (direction,))
    assert bench.put(segment(direction)) == []
    assert len(bench.put(segment(other))) == 1
    bench.gate.silence.add(connection(), 7, (other,))
    assert bench.put(segment(direction), segment(other)) == []


def test_a_silent_connection_ends_with_a_new_one_of_its_four_tuple(bench: Bench) -> None:
    bench.known[connection()] = known_as(7)
    bench.gate.silence.add(connection(), 7, ("in", "out"))
    syn = segment("in", flags="SYN")
    assert bench.put(syn) == []  # The host still has the old one.
    bench.known.clear()
    assert bench.put(syn) == [syn]
    assert bench.gate.idle
    bench.gate.silence.add(connection(), 7, ("out",))
    bench.known[connection()] = known_as(8)
    answer = segment("out", flags="SYN,ACK")
    assert bench.put(answer) == [answer]
    assert bench.gate.idle


def test_a_silent_connection_is_forgotten_when_its_peer_resets_it(bench: Bench) -> None:
    bench.known[connection()] = known_as(7)
    bench.gate.silence.add(connection(), 7, ("in", "out"))
    reset = segment("in", flags="RST")
    assert bench.put(reset) == []
    assert connection().incoming in bench.gate.silence
    bench.known.clear()
    assert bench.put(reset) == []
    assert bench.gate.idle


def test_silence_is_of_tcp_alone(bench: Bench) -> None:
    bench.gate.silence.add(connection(), 7, ("in", "out"))
    datagram = Packet.udp(
        source=THEIRS, destination=OURS, source_port=THERE[1], destination_port=HERE[1]
    ).going("in")
    assert bench.put(datagram) == [datagram]


def test_of_silent_connections_so_many_are_remembered_those_heard_from_last() -> None:
    silence = Silence(lambda _: None, most=3)
    for port in (1, 2, 3):
        silence.add(connection(port), port, ("in", "out"))
    assert silence.takes(segment().replace(source_port=1))
    silence.add(connection(4), 4, ("in", "out"))
    kept = [port for port in range(1, 5) if connection(port).incoming in silence]
    assert kept == [1, 3, 4]


def test_nobody_else_is_asked_about_silent_connections(bench: Bench) -> None:
    """Packets of other connections need not pass the gate, however many are silent."""
    for port in range(1, 1000):
        bench.gate.silence.add(connection(port), port, ("in", "out"))
    assert bench.gate.ignores("in", connection(1000).incoming)
    assert not bench.gate.ignores("in", connection(999).incoming)


def test_rules_that_are_bound_to_connections_go_with_them(bench: Bench) -> None:
    bound = BoundRules(bench.known.get)
    for number in range(1, 101):
        bench.known[connection(number)] = known_as(number)
        if number > 5:
            del bench.known[connection(number - 5)]
        rule = bench.rules.drop(
            local=OURS, remote=THEIRS, local_port=HERE[1], remote_port=number, protocol="tcp"
        )
        bound.add(rule, connection(number), number)
    assert len(bench.rules) <= 15
    bench.known[connection(100)] = known_as(101)  # Another one of the same ports.
    for _ in range(10):
        bound.add(bench.rules.drop(), connection(99), 99)
    assert all(rule.matcher.selection.get("remote_port") != 100 for rule in bench.gate.rules)
