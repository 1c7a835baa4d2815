"""What the view shows, at all sizes, and what keys do."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Address

import pytest
import trio
from rich.cells import cell_len

import tunstack
from tests.cli.top.scene import scene
from tunstack.cli.top.columns import Columns
from tunstack.cli.top.frame import Frames
from tunstack.cli.top.looking import FilterError, Looking, read_filter
from tunstack.ladder import ASCII, plain_text
from tunstack.live import View, Wanted

in_virtual_time = pytest.mark.trio(run=tunstack.run_virtual)


@in_virtual_time
async def test_a_frame_of_80_columns() -> None:
    async with scene() as seen:
        lines = seen.shown(80, 16)
    assert lines == [
        "tunstack serve  198.51.100.2  server, MTU 1500  up 1.1s",
        "in 42.9 kbit/s, 13.4 pkt/s  out 42.9 kbit/s, 8.93 pkt/s  retrans 0  dropped 0",
        "3 connections: 3 ESTAB  3 opened, 2.68/s  memory 19.9 kB",
        "listening: 0.0.0.0:7",
        "State      Local Peer Address:Port  in b/s out b/s rtt ms  cwnd retrans unacked",
        "ESTAB      :7    198.51.100.1:40002  21.4k   21.4k  20.00    10       0       0",
        "ESTAB      :7    198.51.100.1:40001  14.3k   14.3k  20.63    10       0       0",
        "ESTAB      :7    198.51.100.1:40000  7.14k   7.14k  20.62    10       0       0",
        *[""] * 4,
        " ts sack cubic wscale:7,7 rto:220 rtt:20/8.75 mss:1448 pmtu:1500 rcvmss:1448",
        " cwnd:10 snd_wnd:128128 rcv_wnd:131072 bytes_acked:3000 bytes_received:3000",
        "",
        "q quit  ↑↓ choose  Enter ladder  s sort: rate  / filter  p pause  ? help",
    ]


@in_virtual_time
async def test_wider_terminals_have_more_columns() -> None:
    async with scene() as seen:
        heading = seen.shown(140)[4]
    assert heading.split()[-7:] == [
        *("unacked", "snd_wnd", "rcv_wnd", "Send-Q", "Recv-Q", "age", "ssthresh"),
    ]
    assert len(heading) <= 140


@in_virtual_time
@pytest.mark.parametrize("keys", [(), ("enter",), ("?",), ("/", "8", "0"), ("/", "?", "enter")])
async def test_every_frame_has_the_size_of_the_terminal(keys: tuple[str, ...]) -> None:
    async with scene(connections=30) as seen:
        seen.type(*keys)
        output = ["\x1b[2Jevil", "漢字" * 100]
        for width in (1, 2, 7, 20, 40, 64, 80, 140, 250):
            for height in (*range(1, 16), 24, 60):
                lines = seen.lines(width, height, output)
                assert len(lines) == height
                for line in lines:
                    text = plain_text(line)
                    assert cell_len(text) <= width
                    assert text.isprintable()


@in_virtual_time
async def test_there_is_a_row_of_connections_in_five_lines() -> None:
    async with scene() as seen:
        lines = seen.shown(80, 5)
    assert [line.split()[0] for line in lines] == ["tunstack", "State", "ESTAB", "ESTAB", "q"]


@in_virtual_time
async def test_of_a_whole_network_our_end_is_shown_in_full() -> None:
    async def hold(_: object) -> None:
        await trio.sleep_forever()

    async with tunstack.open_network("198.51.100.0/24", "203.0.113.0/24") as net:
        client = await net.add_host("client", "203.0.113.1")
        server = await net.add_host("server", "198.51.100.0/24")
        async with trio.open_nursery() as nursery:
            await nursery.start(server.serve_tcp, hold, 7)
            view = View(server, trio.current_time())
            looking = Looking(view, nursery.cancel_scope.cancel, Wanted())
            await client.open_tcp_stream("198.51.100.77", 7)
            await trio.sleep(1)
            looking.take(view.sample(trio.current_time()))
            lines = [plain_text(line) for line in Frames("test").lines(looking, 80, 10)]
            nursery.cancel_scope.cancel()
    assert lines[0].startswith("test  198.51.100.0/24  ")
    assert lines[4].split()[1] == "198.51.100.77:7"


@in_virtual_time
async def test_ipv6_addresses_are_shortened_where_there_is_no_room() -> None:
    async with scene() as seen:
        (row, *_) = seen.looking.table
        address = IPv6Address("2001:db8:1111:2222:3333:4444:5555:6666")
        row = replace(row, info=replace(row.info, remote=(address, 40002)))
        narrow, wide = (Columns([row], ["2001:db8::2/64"], width, "…") for width in (80, 140))
        texts = [plain_text(each.row(row)) for each in (narrow, wide)]
    assert "[2001:…:3333:4444:5555:6666]:40002 " in texts[0]
    assert "[2001:db8:1111:2222:3333:4444:5555:6666]:40002" in texts[1]
    assert all(len(text) <= width for text, width in zip(texts, (80, 140), strict=True))


@in_virtual_time
async def test_without_unicode_all_of_it_is_ascii() -> None:
    async with scene() as seen:
        seen.frames = Frames("tunstack run", ASCII)
        frames = [seen.shown(output=["out", "put"])]
        seen.type("enter")
        await trio.sleep(1)
        seen.look()
        frames.append(seen.shown())
    assert all(line.isascii() for frame in frames for line in frame)


@in_virtual_time
async def test_the_last_lines_of_output_are_in_a_pane() -> None:
    async with scene() as seen:
        lines = seen.shown(80, 24, [str(number) for number in range(50)])
        few = seen.shown(80, 14, ["not shown"])
    assert lines[-5].startswith("── output ────")
    assert lines[-4:-1] == ["47", "48", "49"]
    assert "not shown" not in few


# Keys


@in_virtual_time
async def test_arrows_choose_a_connection_and_the_choice_stays_with_it() -> None:
    async with scene() as seen:
        assert seen.looking.chosen == 2
        seen.type("down", "j", "down")
        assert seen.looking.chosen == 0
        seen.type("k")
        assert seen.looking.chosen == 1
        await seen.both.echoed(seen.both.streams[1], 9000)
        seen.look()
        assert seen.ports()[0] == 40001
        assert seen.looking.chosen == 1
        chosen = [line for line in seen.lines() if "reverse" in str([each[1] for each in line])]
    assert len(chosen) == 1
    assert ":40001" in plain_text(chosen[0])


@in_virtual_time
async def test_while_none_is_chosen_by_a_key_it_is_the_first() -> None:
    async with scene() as seen:
        await seen.both.echoed(seen.both.streams[1], 9000)
        seen.look()
        assert seen.looking.chosen == 1
        seen.type("down", "s")
        assert seen.looking.chosen == int(seen.ports()[0]) - 40000
        seen.type("down", "home")
        assert seen.looking.picked is None


@in_virtual_time
async def test_s_sorts_by_the_next_order() -> None:
    async with scene() as seen:
        footers = []
        for _ in range(4):
            seen.type("s")
            footers.append(seen.shown(100)[-1])
    orders = ("state", "retransmissions", "age", "rate")
    assert all(f"s sort: {order}  " in each for order, each in zip(orders, footers, strict=True))


@in_virtual_time
async def test_a_filter_by_port_and_state() -> None:
    async with scene() as seen:
        seen.type("/", *"40001x", "backspace")
        assert seen.shown()[-1].startswith("show only: 40001")
        seen.type("enter")
        assert seen.ports() == [40001]
        assert "/ only: 40001" in seen.shown()[-1]
        seen.type("f", "clear", *"time", "enter")
        assert "no connection matches the filter" in seen.shown()
        seen.type("escape")
        assert len(seen.ports()) == 3
        seen.type("/", "8", "escape")
        assert len(seen.ports()) == 3


@in_virtual_time
async def test_a_filter_that_is_none_says_so_and_can_be_mended() -> None:
    async with scene() as seen:
        seen.type("/", *"http", "enter")
        assert seen.shown()[-1] == "show only: http   http: neither a port nor a state"
        seen.type("clear", "7", "enter")
        assert len(seen.ports()) == 3


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", (None, None)),
        ("80", (80, None)),
        (" estab  443 ", (443, "ESTAB")),
        ("time", (None, "TIME-WAIT")),
        ("fin-wait-1", (None, "FIN-WAIT-1")),
        ("SYN-R", (None, "SYN-RECV")),
    ],
)
def test_filters_are_ports_and_states(text: str, found: tuple[int | None, str | None]) -> None:
    assert read_filter(text) == found


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("syn", "syn: SYN-SENT or SYN-RECV?"),
        ("65536", "65536: neither a port nor a state"),
        ("80 81", "81: neither a port nor a state"),
        ("estab time", "time: neither a port nor a state"),
        ("²", "²: neither a port nor a state"),
    ],
)
def test_other_filters_are_refused(text: str, says: str) -> None:
    with pytest.raises(FilterError) as caught:
        read_filter(text)
    assert str(caught.value) == says


@in_virtual_time
async def test_p_pauses_and_goes_on() -> None:
    async with scene() as seen:
        seen.type("p")
        assert " PAUSED " in seen.shown()[0]
        assert "p go on" in seen.shown()[-1]
        assert not seen.looking.due
        seen.looking.press("p")
        assert seen.looking.due


@in_virtual_time
async def test_help_lists_the_keys_until_the_next() -> None:
    async with scene() as seen:
        seen.type("?")
        assert any(line.startswith("  q      ") for line in seen.shown())
        seen.type("x")
        assert seen.shown()[4].startswith("State")
        seen.type("?", "q")
        assert seen.left


@in_virtual_time
async def test_enter_shows_the_ladder_growing_and_escape_leads_back() -> None:
    async with scene() as seen:
        seen.type("down", "enter")
        stream = seen.both.streams[1]
        assert "its next packets will be here" in seen.shown()
        await seen.both.echoed(stream, 100)
        await trio.sleep(1)
        seen.look()
        lines = seen.shown(80, 24)
        assert lines[3].startswith("ESTAB  198.51.100.2:7 198.51.100.1:40001  ")
        assert [line[12:] for line in lines if "len 100" in line] == [
            "── PSH,ACK seq 2001 len 100 ack 2001 ───▶ ESTABLISHED",
            "◀─ PSH,ACK seq 2001 len 100 ack 2101 ──── ESTABLISHED",
        ]
        await seen.both.echoed(stream, 200)
        await trio.sleep(1)
        seen.look()
        assert sum("len 200" in line for line in seen.shown()) == 2
        seen.type("escape")
        assert seen.shown()[4].startswith("State")
        assert seen.both.tap is None


@in_virtual_time
async def test_a_ladder_is_scrolled_back_and_stands_still_until_its_end() -> None:
    async with scene() as seen:
        seen.type("enter")
        stream = seen.both.streams[2]
        for octets in range(100, 130):
            await seen.both.echoed(stream, octets)
            await trio.sleep(0.3)
            seen.look()
        assert any("len 129" in line for line in seen.shown())
        seen.type("page up", "up")
        back = seen.shown()[8:-1]
        assert not any("len 129" in line for line in back)
        await seen.both.echoed(stream, 130)
        await trio.sleep(1)
        seen.look()
        assert seen.shown()[8:-1] == back
        assert seen.shown()[-1].startswith("q quit  End to the latest")
        seen.type("end")
        assert any("len 130" in line for line in seen.shown())
        seen.type("home")
        assert any("len 100" in line for line in seen.shown())
        seen.type("k", "k")
        first = seen.shown()
        assert any("len 100" in line for line in first)


@in_virtual_time
async def test_the_ladder_of_a_connection_that_has_ended_stays() -> None:
    async with scene() as seen:
        seen.type("enter")
        await seen.both.streams[2].aclose()
        await trio.sleep(1)
        seen.look()
        lines = seen.shown()
        assert lines[3].startswith("ended  198.51.100.2:7")
        assert any("LAST-ACK" in line for line in lines)
        seen.type("escape")
        assert seen.ports() == [40000, 40001]
        assert seen.looking.chosen == 0


@in_virtual_time
async def test_a_connection_that_has_ended_before_enter_is_not_followed() -> None:
    async with scene() as seen:
        await seen.both.streams[2].aclose()
        await trio.sleep(1)
        seen.looking.press("enter")
        assert seen.shown()[-1] == "this connection has ended"


@in_virtual_time
async def test_the_table_scrolls_with_the_choice() -> None:
    async with scene(connections=40) as seen:
        seen.type("s", "s", "s")  # By age.
        first = seen.ports()
        assert first[0] == 40000
        seen.type("page down", "down")
        assert seen.ports()[-1] == 40000 + len(first) + 1
        seen.type("G")
        assert seen.ports()[-1] == 40039
        seen.type("g")
        assert seen.ports() == first
        assert seen.looking.picked is None
        seen.type("s", "s", "s", "s", "end")
        assert seen.ports()[-1] == 40039


@in_virtual_time
async def test_no_more_rows_are_made_than_two_pages_until_somebody_moves() -> None:
    async with scene(connections=90) as seen:
        shown = len(seen.ports())
        seen.look()
        assert len(seen.looking.table) == 2 * shown
        seen.type("down")
        assert len(seen.looking.table) == 90
        seen.type("s")
        assert len(seen.looking.table) == 2 * shown


@in_virtual_time
async def test_keys_do_nothing_where_there_are_no_connections() -> None:
    async with scene(connections=0) as seen:
        seen.type("down", "enter", "page up", "left", "x", "")
        assert "no connections" in seen.shown()
        seen.type("q")
        assert seen.left
