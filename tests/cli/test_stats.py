"""``tunstack stats`` and ``run --stats``: where the time of connections went."""

from __future__ import annotations

import ssl
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.ladder.exchange import Exchange, packet_of, ping, udp
from tests.ladder.spoken import CLIENT, SERVER, Talk, answer_to, query, tls_talk
from tests.wire.packets import PAIRS
from tunstack.cli import main
from tunstack.ladder import read_packet
from tunstack.ladder.timing import Timings
from tunstack.path.pcapng import PcapngWriter
from tunstack.tcp.segment import ACK, FIN, PSH, RST, SYN

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tunstack.ladder.timing import Timing

OLD = ssl.TLSVersion.TLSv1_2


def packets_of(exchange: Exchange) -> list[bytes]:
    return [seen.packet for seen in exchange.observations]


def look_up(name: str, address: str, *, port: int = 4000) -> list[bytes]:
    """A query, and its answer."""
    kind = "AAAA" if ":" in address else "A"
    asked = query(name, kind)
    answer = answer_to(asked, f"{name} 60 IN {kind} {address}")
    kernel, ours = PAIRS["IPv4"]
    return [
        packet_of(udp(asked.to_wire(), sport=port, dport=53)),
        packet_of(udp(answer.to_wire(), sport=53, dport=port, src=ours, dst=kernel)),
    ]


def timings_of(packets: Iterable[bytes], apart: float = 1.0) -> Timings:
    """The times of packets, so many seconds from one another."""
    timings = Timings()
    for number, packet in enumerate(packets):
        timings.add(read_packet(1000 + number * apart, packet))
    return timings


def only(timings: Timings) -> Timing:
    (timing,) = timings.connections
    return timing


def http(**options: object) -> Exchange:
    """A handshake, a request, an answer in three segments, and a teardown."""
    exchange = Exchange(**options)  # type: ignore[arg-type]
    exchange.handshake()
    exchange.fetch(segments=3)
    exchange.teardown(78, 300)
    return exchange


def test_a_connection_without_a_name_or_tls() -> None:
    # SYN at 0, ACK at 2, request at 3, answers at 4, 6 and 8.
    timing = only(timings_of(packets_of(http())))
    assert timing.phases == (None, 2.0, None, 2.0, 4.0, 8.0)
    assert (timing.server, timing.name, timing.ended) == (("198.51.100.2", 80), "", "")


def test_a_look_up_of_both_families_counts_from_the_first_query_to_the_last_answer() -> None:
    six, four = (
        look_up("peer.test", address, port=port)
        for address, port in (("2001:db8::2", 4000), ("198.51.100.2", 4001))
    )
    packets = [six[0], four[0], six[1], four[1], *packets_of(http(family="IPv6"))]
    timing = only(timings_of(packets))
    assert timing.name == "peer.test"
    assert timing.phases == (3.0, 2.0, None, 2.0, 4.0, 12.0)
    assert timing.number == 3  # As in the ladder, after both flows of UDP.


def test_a_look_up_belongs_to_one_connection() -> None:
    """A later one to the same address has not waited for it."""
    later = http(port=40313)
    packets = [*look_up("peer.test", "198.51.100.2"), *packets_of(http()), *packets_of(later)]
    first, second = timings_of(packets, 0.01).connections
    assert first.lookup is not None
    assert (second.lookup, second.name) == (None, "")


def test_both_connections_of_happy_eyeballs_have_the_look_up() -> None:
    unanswered = Exchange(family="IPv6")
    unanswered.receive(SYN, 0)
    both = [*look_up("peer.test", "2001:db8::2"), *look_up("peer.test", "198.51.100.2")]
    packets = [*both, *packets_of(unanswered), *packets_of(http())]
    six, four = timings_of(packets).connections
    assert six.name == four.name == "peer.test"
    assert six.phases[1:] == (None,) * 5
    assert four.phases[0] == six.phases[0] == 3.0


def test_the_other_family_is_not_used_once_one_is_connected() -> None:
    both = [*look_up("peer.test", "2001:db8::2"), *look_up("peer.test", "198.51.100.2")]
    packets = [*both, *packets_of(http(family="IPv6")), *packets_of(http())]
    assert timings_of(packets, 0.01).connections[1].lookup is None


def test_an_old_look_up_is_not_counted() -> None:
    packets = [*look_up("peer.test", "198.51.100.2"), *packets_of(http())]
    timings = Timings()
    for number, packet in enumerate(packets):
        timings.add(read_packet(1000 + number + (60 if number > 1 else 0), packet))
    assert only(timings).lookup is None


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_3, OLD])
def test_tls_ends_with_finished_and_the_answer_begins_after_the_request(
    newest: ssl.TLSVersion,
) -> None:
    talk = Talk(tls_talk(newest=newest, answer=bytes(100)), most=5000)
    timing = only(timings_of(packets_of(talk)))
    lookup, connect, tls, first, transfer, _total = timing.phases
    assert timing.name == "peer.test"
    assert (lookup, connect, transfer) == (None, 2.0, 0.0)
    # In TLS 1.2 the server's Finished is the last; in TLS 1.3 the client's, before two tickets.
    assert (tls, first) == ((4.0, 2.0) if newest is OLD else (3.0, 3.0))


def test_a_request_in_the_segment_of_finished() -> None:
    said = tls_talk(answer=bytes(100))
    joined = [*said[:2], (CLIENT, said[2][1] + said[4][1]), said[3], *said[5:]]
    phases = only(timings_of(packets_of(Talk(joined, most=5000)))).phases
    assert phases[2:4] == (3.0, 1.0)


def test_refused_and_reset() -> None:
    refused = Exchange()
    refused.receive(SYN, 0)
    refused.send(RST | ACK, 0, 1)
    assert only(timings_of(packets_of(refused))).ended == "refused"
    reset = Exchange()
    reset.handshake()
    reset.receive(PSH | ACK, 1, 1, payload=bytes(78))
    reset.send(RST, 1)
    assert only(timings_of(packets_of(reset))).ended == "reset"


def test_a_reset_after_a_close_is_no_failure() -> None:
    """As of a client that has what it wanted, and does not read close_notify."""
    exchange = Exchange()
    exchange.handshake()
    exchange.fetch()
    exchange.receive(FIN | ACK, 79, 101)
    exchange.send(PSH | ACK, 101, 80, payload=bytes(24))
    exchange.receive(RST, 80)
    timing = only(timings_of(packets_of(exchange)))
    assert timing.ended == ""
    assert timing.phases[-1] is not None


def test_connections_joined_midway_are_counted_and_left_out() -> None:
    exchange = http()
    del exchange.observations[:3]
    timings = timings_of(packets_of(exchange))
    assert (timings.connections, timings.unopened) == ([], 1)


def test_a_second_connection_of_the_same_ports_is_another() -> None:
    exchange = http()
    exchange.isn["in"] += 5_000_000
    exchange.handshake()
    assert [each.number for each in timings_of(packets_of(exchange)).connections] == [1, 2]


@pytest.fixture
def capture(tmp_path: Path) -> str:
    path = tmp_path / "x.pcapng"
    name = "a-name-that-is-rather-long.of-a-host.in-a-zone.example.test"
    packets = [
        *look_up("peer.test", "198.51.100.2"),
        *packets_of(Talk(tls_talk(), our_port=443)),
        *look_up(name, "2001:db8::2"),
        *packets_of(http(family="IPv6")),
        ping(reply=False),
    ]
    refused = Exchange(4000)
    refused.receive(SYN, 0)
    refused.send(RST | ACK, 0, 1)
    with PcapngWriter(path) as writer:
        for number, packet in enumerate([*packets, *packets_of(refused)]):
            writer.write(packet, 1_700_000_000 + number * 0.0123)
    return str(path)


def test_the_table_has_a_row_each_in_80_columns(
    capture: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["stats", capture]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[1].split()[0] == "#"
    rows = {line.split()[0]: line.split() for line in lines if line[:2].strip().isdigit()}
    assert rows["2"] == ["2", "peer.test:443", "12.30", "24.60", "36.90", "36.90", "0.000", "123.0"]
    assert rows["3"][2:] == ["12.30", "24.60", "-", "24.60", "49.20", "123.0"]
    assert rows["5"] == ["5", "198.51.100.2:80", *"-----", "refused"]
    # A long name is folded, whole.
    assert "".join(line[2:33].strip() for line in lines).count("zone.example.test:80") == 1


def test_a_reset_after_an_answer_has_both_its_time_and_the_reset(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    exchange = Exchange()
    exchange.handshake()
    exchange.fetch()
    exchange.receive(RST, 79)
    path = tmp_path / "x.pcapng"
    with PcapngWriter(path) as writer:
        for number, packet in enumerate(packets_of(exchange)):
            writer.write(packet, 1.0 + number * 0.01)
    assert main(["stats", str(path)]) == 0
    row, below = capfd.readouterr().out.splitlines()[-2:]
    assert (row.split()[-1], below.split()) == ("40.00", ["reset"])


def test_many_connections_are_folded_to_the_longest_and_the_median(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.pcapng"
    with PcapngWriter(path) as writer:
        for number in range(50):
            exchange = http(port=30_000 + number)
            for at, packet in enumerate(packets_of(exchange)):
                writer.write(packet, 1000 + number + at * 0.001 * (1 + number % 10))
        refused = Exchange(4000)
        refused.receive(SYN, 0)
        refused.send(RST | ACK, 0, 1)
        for packet in packets_of(refused):
            writer.write(packet, 2000.0)
    assert main(["stats", str(path)]) == 0
    lines = capfd.readouterr().out.splitlines()
    rows = [line.split() for line in lines if line[:2].strip().isdigit()]
    assert len(rows) == 20
    assert rows[-1][-1] == "refused"
    assert {row[-1] for row in rows[:-1]} == {"80.00", "72.00", "64.00", "56.00"}
    assert "median of all 51" in " ".join(" ".join(line[3:33] for line in lines[-2:]).split())
    assert lines[-2].split()[-1] == "44.00"
    assert main(["stats", "--full", str(path)]) == 0
    assert len(capfd.readouterr().out.splitlines()) == 2 + 51


def test_nothing_to_tell_is_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.pcapng"
    with PcapngWriter(path) as writer:
        writer.write(ping(reply=False), 1.0)
    assert main(["stats", str(path)]) == 2
    assert capfd.readouterr().err == (
        f"tunstack stats: {path} has no TCP connection from its beginning on\n"
    )
    assert main(["stats", str(tmp_path / "none")]) == 2
    assert "cannot read" in capfd.readouterr().err


def test_what_is_left_out_is_told_and_damage_is(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.pcapng"
    midway = http(port=40400)
    with PcapngWriter(path) as writer:
        for number, packet in enumerate([*packets_of(midway)[3:], *packets_of(http())]):
            writer.write(packet, 1.0 + number)
    path.write_bytes(path.read_bytes()[:-5])
    assert main(["stats", str(path)]) == 2
    printed = capfd.readouterr()
    assert "198.51.100.2:80" in printed.out
    assert printed.err == (
        "tunstack stats: 1 TCP connection is left out: its beginning was not seen\n"
        f"tunstack stats: {path}: truncated capture\n"
    )


def test_a_long_answer_counts_to_its_last_octet() -> None:
    said = [(CLIENT, b"GET / HTTP/1.1\r\n\r\n"), (SERVER, bytes(14480))]
    assert only(timings_of(packets_of(Talk(said)))).phases == (None, 2.0, None, 2.0, 9.0, 13.0)


@pytest.mark.kernel
def test_run_prints_the_times_of_its_connections() -> None:
    command = [sys.executable, "-m", "tunstack", "run", "--stats", "--"]
    fetch = "import urllib.request as r; r.urlopen('https://peer.test/', timeout=10).read()"
    done = subprocess.run(
        [*command, sys.executable, "-c", fetch],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == ""
    (row,) = [line.split() for line in done.stderr.splitlines() if "peer.test:443" in line]
    assert len(row) == 8
    assert all(float(cell) >= 0 for cell in row[2:])
    assert float(row[-1]) >= max(float(cell) for cell in row[2:-1])


def test_statistics_are_of_one_process(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--stats", "--workers", "2", "true"]) == 2
    assert "--stats sees the packets of one process" in capfd.readouterr().err
