"""The texts of behaviours: what is read, what is refused and how, and the catalogue."""

from __future__ import annotations

import dataclasses
import pickle
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunstack import behaviours
from tunstack.apps import APPS, parse_serve
from tunstack.behaviours import (
    CloseIdle,
    Delay,
    First,
    Flapping,
    FullBacklog,
    Loss,
    Rate,
    Refuse,
    ResetAfter,
    SlowReader,
    SmallMtu,
    Trickle,
    Unreachable,
    WrongAck,
    ZeroWindowAfter,
    catalogue,
    check_one_process,
    elsewhere_catalogue,
    parse,
)
from tunstack.dns.faults import Fault, parse_fault


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("refuse", [Refuse()]),
        ("unreachable", [Unreachable("host")]),
        ("unreachable=prohibited", [Unreachable("prohibited")]),
        ("reset-after", [ResetAfter()]),
        ("reset-after=4096", [ResetAfter(4096)]),
        ("reset-after=4kB", [ResetAfter(4000)]),
        ("reset-after=0", [ResetAfter(0)]),
        ("reset-after=1.5s", [ResetAfter(seconds=1.5)]),
        ("in:reset-after=1MB", [ResetAfter(1_000_000, way="in")]),
        ("trickle=10/50ms", [Trickle(10, 0.05)]),
        ("slow-reader=64kbit", [SlowReader(64000.0)]),
        ("full-backlog", [FullBacklog(0)]),
        ("zero-window-after=10kB", [ZeroWindowAfter(10_000)]),
        ("zero-window-after=10kB/500ms", [ZeroWindowAfter(10_000, 0.5)]),
        ("wrong-ack=data", [WrongAck("data")]),
        ("flapping=1s/200ms", [Flapping(1.0, 0.2)]),
        ("rate=1mbit/20", [Rate(1e6, 20)]),
        ("small-mtu=1280", [SmallMtu(1280)]),
        (" out:loss=5% , in:delay=20ms ", [Loss(0.05, "out"), Delay(0.02, "in")]),
        ("refuse,first=2", [Refuse(), First(2)]),
    ],
)
def test_a_text_is_read(text: str, expected: list[behaviours.Behaviour]) -> None:
    assert parse(text) == tuple(expected)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("rset-after=1", "there is no behaviour 'rset-after': did you mean reset-after or"),
        ("xyzzy", "there is no behaviour 'xyzzy': tunstack behaviours lists them"),
        ("", "a behaviour is missing after a comma: tunstack behaviours lists them"),
        ("refuse,,delay=1s", "a behaviour is missing after a comma"),
        ("https-expired", "https-expired is an app over TLS: --serve https-expired, on port 4431"),
        ("servfail", r"servfail is a fault of a name: --name-fault NAME=servfail\[:N\], or Names"),
        ("drop-syn", "drop-syn needs a value, as in drop-syn=1"),
        ("drop-syn=0", "drop-syn: syns must be 1 to 2147483648, not 0"),
        ("drop-syn=1s", "drop-syn must be a number, as in drop-syn=1, not '1s'"),
        ("drop-syn=", "drop-syn must be a number, as in drop-syn=1, not ''"),
        ("silent=3", "silent takes no value"),
        ("silent=", "silent takes no value"),
        ("in:silent", "silent has no direction: leave out in:"),
        ("up:loss=1%", "'up' is no direction: write out: or in: before 'loss=1%'"),
        ("in:reset-after=2s", "reset-after: with a direction give octets, as in in:reset-after"),
        ("reset-after=4x", "reset-after must be a number of octets.*, or a time.*, not '4x'"),
        ("reset-after=-1", "reset-after: octets must be 0 to 1099511627776, not -1"),
        ("reset-after=1/2", "reset-after takes 1 values at most"),
        ("trickle=10", "trickle needs a value, as in trickle=10/50ms"),
        ("trickle=0/1s", "trickle: octets must be 1 to"),
        ("late-fin=2", "late-fin must be a time in s, ms or us, as in late-fin=500ms, not '2'"),
        ("late-fin=2000000s", "late-fin: seconds must be 0 to 86400s, not 2000000.0"),
        ("loss=101%", "loss: share must be 0 to 100%, not 1.01"),
        ("loss=0.5", "loss must be a percentage, as in loss=5%, not '0.5'"),
        ("small-mtu=67", "small-mtu: mtu must be 68 to 65535, not 67"),
        ("tiny-mss=3", "tiny-mss: mss must be 88 to 65495, not 3"),
        ("unreachable=moon", "unreachable must be host or network or port or prohibited, as in"),
        ("flapping=0s/0s", "flapping: give times that are not both 0"),
        ("slow-reader=0bit", "slow-reader: rate must be 1bit to 1000gbit, not 0.0"),
        ("loss=1%,loss=2%", "loss and loss contradict each other: it is there twice"),
        ("silent,delay=1s", "silent and delay contradict .*: with silent no connection is served"),
        ("delay=1s,refuse", "delay and refuse contradict .*: with refuse no connection is served"),
        ("reset-after=1,vanish-after=2", "contradict each other: a connection ends in one way"),
        ("small-mtu=1000,pmtu-blackhole=1000", "large packets are answered or lost"),
        ("nonsense,slow-reader=1kbit", "nonsense reads nothing"),
        ("refuse,first=1,every=2", "first and every contradict each other: give one of them"),
        ("first=2", "first=2 needs what these connections do, as in reset-after=100,first=2"),
        ("tiny-mss=100,first=2", "tiny-mss is of all connections: leave out first=2"),
    ],
)
def test_a_mistake_has_one_line_that_names_it(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        parse(text)
    assert "\n" not in str(caught.value)


def test_a_behaviour_of_tcp_is_refused_for_udp() -> None:
    with pytest.raises(ValueError, match="reset-after is of TCP: UDP has no connections"):
        parse("loss=1%,reset-after=1", "udp")
    assert parse("loss=1%,silent,first=1".replace("silent,", ""), "udp") == (Loss(0.01), First(1))


def test_objects_are_taken_as_texts_are() -> None:
    assert parse(Refuse()) == parse([Refuse()]) == parse("refuse")
    assert parse(None) == ()
    with pytest.raises(ValueError, match="contradict each other"):
        parse([Refuse(), ResetAfter(1)])
    with pytest.raises(TypeError, match="a behaviour is a text or a Behaviour, not 3"):
        parse([3])  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: ResetAfter(1, 2.0), "reset-after: give octets or seconds, not both"),
        (
            lambda: ResetAfter(1.5),  # type: ignore[arg-type]
            "reset-after: octets must be 0 to 1099511627776, not 1.5",
        ),
        (lambda: ResetAfter(True), "reset-after: octets must be .* not True"),
        (
            lambda: ResetAfter(1, way="both"),  # type: ignore[arg-type]
            "reset-after: way must be in or out, not 'both'",
        ),
        (
            lambda: Loss(0.1, "up"),  # type: ignore[arg-type]
            "loss: way must be in or out or both, not 'up'",
        ),
        (lambda: Loss(float("nan")), "loss: share must be 0 to 100%, not nan"),
        (lambda: CloseIdle(-1.0), "close-idle: seconds must be 0 to 86400s, not -1.0"),
        (
            lambda: Unreachable("moon"),  # type: ignore[arg-type]
            "unreachable: what must be host or network or port or",
        ),
    ],
)
def test_an_object_with_an_impossible_value_is_refused(make: object, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        make()  # type: ignore[operator]


@pytest.mark.parametrize("each", catalogue(), ids=lambda each: each.name)
def test_every_behaviour_is_told_of_and_its_example_is_read(
    each: type[behaviours.Behaviour],
) -> None:
    assert each.summary
    assert each.copes.endswith(".")
    read = parse(each.example)
    assert each in map(type, read)
    assert ",".join(map(str, read)) == each.example
    assert pickle.loads(pickle.dumps(read)) == read
    assert each.__doc__
    assert each.__name__ in behaviours.__all__
    assert dataclasses.is_dataclass(each)
    assert each.usage().startswith(("[", each.name))


@given(st.integers(0, 1 << 40), st.floats(0, 86400), st.sampled_from(["in", "out"]))
def test_the_text_of_a_behaviour_is_read_as_the_same(octets: int, seconds: float, way: str) -> None:
    for each in (
        ResetAfter(octets, way=way),  # type: ignore[arg-type]
        ResetAfter(seconds=seconds),
        Trickle(octets or 1, seconds),
        ZeroWindowAfter(octets, seconds),
        Delay(seconds, way),  # type: ignore[arg-type]
    ):
        assert parse(str(each)) == (each,)


def test_names_and_tls_are_in_the_list_by_the_names_that_they_have_elsewhere() -> None:
    names = {each.name for each in elsewhere_catalogue()}
    bad = {name for name in APPS if name.startswith("https-")}
    assert bad <= names
    for each in elsewhere_catalogue():
        if each.name in bad:
            assert f"on port {APPS[each.name].port} " in each.use
        else:
            fault = re.sub(r"SECONDS", "2", each.usage.replace("[:N]", ""))
            assert parse_fault(fault) != Fault()
            assert fault.partition(":")[0] in each.example


def test_what_counts_connections_is_not_for_several_processes() -> None:
    check_one_process(parse("loss=1%,reset-after=1"))
    for text in ("fail-first=1", "full-backlog", "rate=1mbit", "refuse,first=1", "refuse,every=2"):
        with pytest.raises(ValueError, match="all connections together: not with several workers"):
            check_one_process(parse(text))


def test_an_app_has_the_behaviours_behind_its_comma() -> None:
    ((app, port),) = parse_serve("echo:8000,loss=5%,reset-after=4096,first=2")
    assert (app.name, port) == ("echo", 8000)
    assert app.behaviours == (Loss(0.05), ResetAfter(4096), First(2))
    assert app.datagram_behaviours == (Loss(0.05), First(2))
    assert str(app) == "echo,loss=5%,reset-after=4096,first=2"
    ((app, _),) = parse_serve("dns,reset-after=1,first=2")
    assert app.datagram_behaviours == ()
    asgi = parse_serve("asgi=json:loads,refuse")
    assert [(app.behaviours, port) for app, port in asgi] == [((Refuse(),), 80), ((Refuse(),), 443)]
    with pytest.raises(ValueError, match="a behaviour is missing after a comma"):
        parse_serve("http:80,")
