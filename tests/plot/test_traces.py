"""Plots of captures and traces: which connection, which way, which data."""

from __future__ import annotations

import io
import math
from dataclasses import replace

import pytest
from matplotlib.figure import Figure

from tests.capture.segments import Talk
from tests.ladder.exchange import Exchange
from tunstack import Capture, plot
from tunstack.plot.rates import utilisation_of_capture, utilisation_of_connection
from tunstack.plot.series import Line, Panel
from tunstack.plot.windows import window_panel
from tunstack.stack.observation import Windows
from tunstack.tcp.segment import ACK, RST, SYN, Segment


def exchange(port: int = 40312, segments: int = 20) -> Exchange:
    made = Exchange(port)
    made.handshake()
    made.fetch(segments=segments)
    return made


def trace() -> Capture:
    return Capture.from_observations(
        [*exchange(40001, 3).observations, *exchange(40002, 20).observations]
    )


def lines(panel: Panel) -> dict[str, list[tuple[float, float]]]:
    return {each.name: [*each.points] for each in panel.series if isinstance(each, Line)}


def sender() -> Talk:
    """Ours is the sender, and its windows are known."""
    talk = Talk()
    talk.sent(10.0, Segment(0, flags=SYN, mss=1460))
    talk.answered(10.1, Segment(0, 1, SYN | ACK, wnd=9000, mss=1000))
    for number in range(4):
        talk.sent(
            10.2,
            Segment(1 + 1000 * number, 1, ACK, payload=bytes(1000)),
            windows=Windows(4000, None, 1000),
        )
    talk.answered(10.3, Segment(1, 2001, ACK, wnd=9000), windows=Windows(3000, 2000, 1000))
    return talk


@pytest.mark.parametrize("draw", [plot.sequence, plot.window, plot.utilisation])
def test_it_draws_on_the_axes_that_are_given_and_returns_them(draw: object) -> None:
    assert callable(draw)
    ax = Figure().add_subplot()
    assert draw(trace(), ax, 1, title="mine") is ax
    assert ax.get_title("left") == "mine"
    assert ax.lines


def test_the_connection_with_the_most_data_is_drawn_or_the_one_that_is_named() -> None:
    capture = trace()
    ends = "198.51.100.2:80 to 198.51.100.1"
    for chosen, port in ((capture, 40002), (capture.connections[0], 40001)):
        ax = plot.sequence(chosen, Figure().add_subplot())
        assert ax.get_title("left") == f"{ends}:{port}"
    ax = plot.sequence(capture, Figure().add_subplot(), connection=1, reverse=True)
    assert ax.get_title("left") == "198.51.100.1:40001 to 198.51.100.2:80"
    with pytest.raises(ValueError, match="none is number 3"):
        plot.window(capture, connection=3)
    with pytest.raises(ValueError, match="this is connection 1, not 2"):
        plot.sequence(capture.connections[0], connection=2)


def test_the_name_of_a_file_is_refused() -> None:
    with pytest.raises(TypeError, match=r"draw tunstack\.read_capture\('x\.pcapng'\)"):
        plot.sequence("x.pcapng")  # type: ignore[arg-type]


@pytest.mark.parametrize("reverse", [False, True])
def test_a_connection_that_is_refused_can_be_drawn(reverse: bool) -> None:
    talk = Talk()
    talk.sent(10.0, Segment(1000, flags=SYN))
    alone = talk.connection
    talk.answered(10.0, Segment(0, 1001, RST | ACK))
    for connection in (alone, talk.connection):
        plot.save(plot.overview(connection, reverse=reverse), io.BytesIO())
        plot.save(plot.utilisation(connection, Figure().add_subplot()), io.BytesIO())


def test_a_live_trace_is_drawn_as_it_is() -> None:
    ax = plot.sequence(exchange().observations, Figure().add_subplot())
    assert ax.get_ylabel() == "sequence number, octets"


def test_the_overview_has_the_window_where_our_side_sends() -> None:
    made = exchange()
    made.observations = [
        replace(seen, windows=Windows(14600, None, 1460)) for seen in made.observations
    ]
    figure = plot.overview(made.observations)
    assert [ax.get_ylabel() for ax in figure.axes] == ["sequence number, octets", "segments"]
    assert "2 kB in 0.0" in figure.axes[0].get_title("left")
    assert len(plot.overview(made.observations, reverse=True).axes) == 1
    assert plot.overview(made.observations, title="").axes[0].get_title("left") == ""


def test_windows_are_in_segments_of_the_sender_from_the_start_of_the_connection() -> None:
    found = lines(window_panel(sender().connection, "client"))
    times, heights = zip(*found["congestion window"], strict=True)
    assert times == pytest.approx([0.2] * 4 + [0.3])
    assert heights == (4.0, 4.0, 4.0, 4.0, 3.0)
    assert [math.isnan(y) for _, y in found["threshold"]] == [True] * 4 + [False]
    assert found["threshold"][-1][1] == 2.0
    assert found["not acknowledged"][-1][1] == 2.0


def test_of_a_sender_that_is_not_ours_what_is_not_acknowledged_is_drawn_alone() -> None:
    made = exchange()
    capture = Capture.from_observations(made.observations)
    panel = window_panel(capture.connections[0], "client")
    assert [each.name for each in panel.shown] == ["not acknowledged"]


def test_the_flight_of_a_simulation_is_the_senders_own() -> None:
    talk = Talk()
    talk.sent(0.0, Segment(0, flags=SYN))
    talk.sent(
        0.1, Segment(1, 1, ACK, payload=bytes(500)), windows=Windows(1000, None, 500), pipe=250
    )
    assert lines(window_panel(talk.connection, "client"))["in flight"] == [(0.1, 0.5)]


def test_utilisation_counts_headers_and_what_is_delivered_by_interval() -> None:
    connection = sender().connection
    panel = utilisation_of_connection(connection, "client", interval=0.1)
    assert (panel.unit, panel.label) == ("bit/s", "rate")
    found = lines(panel)
    assert [round(y) for _, y in found["sent, with headers"]][:4] == [3200, 0, 4160 * 80, 0]
    assert [round(y) for _, y in found["delivered"]][:4] == [0, 0, 0, 2000 * 80]
    times = [x for x, _ in found["delivered"]]
    assert times[:3] == pytest.approx([0.0, 0.1, 0.2])


def test_what_is_selectively_acknowledged_is_delivered_and_not_in_flight() -> None:
    talk = sender()
    talk.answered(10.4, Segment(1, 2001, ACK, wnd=9000, sack=((3001, 4001),)))
    talk.answered(10.5, Segment(1, 4001, ACK, wnd=9000))
    panel = utilisation_of_connection(talk.connection, "client", interval=0.1)
    delivered = [round(y) for _, y in lines(panel)["delivered"]]
    assert delivered == [0, 0, 0, 160_000, 80_000, 80_000, 80_000]
    flight = lines(window_panel(talk.connection, "client"))["not acknowledged"]
    assert [y for _, y in flight[-3:]] == [2.0, 1.0, 0.0]


def test_utilisation_is_in_per_cent_of_a_rate_that_is_given() -> None:
    panel = utilisation_of_connection(sender().connection, "client", interval=0.1, rate=1e6)
    assert panel.unit == "%"
    assert max(y for _, y in lines(panel)["sent, with headers"]) == pytest.approx(33.28)


def test_utilisation_of_a_capture_has_both_directions_of_all_packets() -> None:
    capture = trace()
    found = lines(utilisation_of_capture(capture, interval=10.0))
    sizes = {
        way: sum(packet.size for packet in capture.packets if packet.direction == way)
        for way in ("out", "in")
    }
    for way, size in sizes.items():
        assert found[way][0][1] == pytest.approx(size * 8 / 10)
    strangers = [replace(packet, direction=None) for packet in capture.packets]
    unknown = Capture(0.0, strangers, capture.connections)
    found = lines(utilisation_of_capture(unknown, interval=10.0))
    assert found["to clients"][0][1] == pytest.approx(sizes["out"] * 8 / 10)
    assert found["to servers"][0][1] == pytest.approx(sizes["in"] * 8 / 10)


def test_the_interval_is_round_and_a_sixtieth_or_more() -> None:
    points = lines(utilisation_of_connection(sender().connection, "client"))["delivered"]
    assert points[1][0] == pytest.approx(0.005)
    assert points[-1][0] >= 0.3


@pytest.mark.parametrize("wrong", [0, -1.0, math.inf, math.nan])
def test_a_rate_or_an_interval_that_is_none_is_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match="rate must be positive"):
        plot.utilisation(trace(), rate=wrong)
    with pytest.raises(ValueError, match="interval must be positive"):
        plot.utilisation(trace(), interval=wrong)


def test_an_empty_capture_has_no_utilisation_and_no_connection() -> None:
    panel = utilisation_of_capture(Capture(None, [], []))
    assert all(y == 0 for points in lines(panel).values() for _, y in points)
    with pytest.raises(ValueError, match="the capture has no TCP connection"):
        plot.sequence(Capture(None, [], []))


def test_a_long_capture_with_a_short_interval_is_refused() -> None:
    with pytest.raises(ValueError, match="are more than a plot shows"):
        plot.utilisation(trace(), interval=1e-9)
