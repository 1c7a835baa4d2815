"""The ladder of what is no TCP over IPv4: IPv6, UDP, pings, ICMP errors, fragments."""

from __future__ import annotations

from textwrap import dedent
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ladder.exchange import KERNEL, OURS, PAIRS, Exchange, packet_of, ping, udp
from tests.wire.packets import (
    KERNEL_6,
    OURS_6,
    examples,
    fragment_header,
    icmp_bytes,
    ipv4_packet,
    ipv6_packet,
    options_header,
    routing_header,
    tcp_bytes,
)
from tunstack.ip import icmp, icmpv6
from tunstack.ip.datagram import ICMP, ICMPV6, Datagram
from tunstack.ip.fragmentation import fragmented
from tunstack.ip.icmp import IcmpMessage
from tunstack.ladder import ASCII, Ladder, plain_text, read_packet, step_from_capture
from tunstack.tcp.segment import ACK, PSH, SYN
from tunstack.wire import decode_datagram, encode_icmp

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any


def expected(text: str) -> str:
    return dedent(text).strip("\n").replace("|", "")


def drawn(packets: Iterable[bytes], **options: Any) -> str:
    """The ladder of packets that nobody commented on, a millisecond apart."""
    ladder = Ladder(**{"states": False, **options})
    lines = []
    for number, packet in enumerate(packets):
        lines += ladder.add(read_packet(1 + number * 0.001, packet))
    return "\n".join(plain_text(line).rstrip() for line in [*lines, *ladder.flush()])


def quiet() -> Exchange:
    """An exchange of packets that belong to no connection."""
    exchange = Exchange()
    exchange.state = None
    return exchange


def pair(family: str) -> dict[str, Any]:
    return dict(zip(("src", "dst"), PAIRS[family], strict=True))


def back(family: str) -> dict[str, Any]:
    return dict(zip(("dst", "src"), PAIRS[family], strict=True))


def port_unreachable(family: str, quoted: Datagram, source: bytes | None = None) -> bytes:
    rules = icmp if family == "IPv4" else icmpv6
    message = IcmpMessage(rules.DESTINATION_UNREACHABLE, rules.PORT_UNREACHABLE, quoted=quoted)
    return b"".join(encode_icmp(source or quoted.dst, quoted.src, message))


def test_a_connection_over_ipv6_in_80_columns() -> None:
    exchange = Exchange(family="IPv6")
    exchange.receive(SYN, 0, after="SYN-RECEIVED", mss=1440)
    exchange.send(SYN | ACK, 0, 1, mss=1440)
    assert exchange.drawn(names=("kernel", "tunstack")) == expected(
        """
        |      ms #1 kernel [2001:db8::1]:40312  [2001:db8::2]:80 tunstack
        |   0.000 #1 ── SYN seq 0 win 502 ───────────────────▶ LISTEN → SYN-RECEIVED
        |               mss 1440
        |   1.000 #1 ◀─ SYN,ACK seq 0 ack 1 win 502 ────────── SYN-RECEIVED
        |               mss 1440
        """
    )


LONG = bytes.fromhex("20010db8aaaabbbbccccddddeeee0001")
LONGER = bytes.fromhex("20010db8aaaabbbbccccddddeeeeffff")


@pytest.mark.parametrize(
    ("width", "src", "heading"),
    [
        (
            80,
            LONG,
            "#1 kernel [2001:…:dddd:eeee:1]:4000  [2001:…:eeee:ffff]:99 tunstack",
        ),
        (80, LONGER[:4] + bytes(11) + b"\1", None),
        (64, LONG, "#1 kernel [2001:…:1]:4000  [2001:…:ffff]:99 tunstack"),
        (
            200,
            LONG,
            "#1 kernel [2001:db8:aaaa:bbbb:cccc:dddd:eeee:1]:4000"
            "  [2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff]:99 tunstack",
        ),
    ],
)
def test_long_ipv6_addresses_are_shortened_in_the_heading(
    width: int, src: bytes, heading: str | None
) -> None:
    datagram = udp(src=src, dst=LONGER)
    names = ("kernel", "tunstack")
    line = drawn([packet_of(datagram)], width=width, names=names).splitlines()[0]
    assert len(line) <= width
    if heading is None:  # The short one stays whole, and the other has the rest of the room.
        heading = "#1 kernel [2001:db8::1]:4000  [2001:…:cccc:dddd:eeee:ffff]:99 tunstack"
    assert line.split() == ["ms", *heading.split()]
    assert "[2001:...:" in drawn([packet_of(datagram)], names=names, symbols=ASCII)


@given(
    st.binary(min_size=16, max_size=16),
    st.binary(min_size=16, max_size=16),
    st.sampled_from([1, 65535]),
    st.sampled_from([1, 65535]),
)
@examples
def test_no_heading_is_wider_than_the_terminal(
    src: bytes, dst: bytes, sport: int, dport: int
) -> None:
    datagram = udp(src=src, dst=dst, sport=sport, dport=dport)
    for states in (True, False):
        page = drawn([packet_of(datagram)], states=states, names=("kernel", "tunstack"))
        assert max(map(len, page.splitlines())) <= 80


@pytest.mark.parametrize("family", PAIRS)
def test_udp_is_a_conversation_of_two_ports(family: str) -> None:
    there, here = pair(family), back(family)
    packets = [
        packet_of(udp(bytes(31), **there)),
        packet_of(udp(bytes(47), sport=99, dport=4000, **here)),
        packet_of(udp(b"", sport=4001, **there)),
        packet_of(udp(bytes(5), sport=99, dport=4000, **here)),
    ]
    left, right = [f"[{each}]" if family == "IPv6" else each for each in ends(family)]
    lines = drawn(packets).splitlines()
    assert [line.split() for line in lines[::3]] == [
        ["ms", "#1", f"{left}:4000", f"{right}:99"],
        ["ms", "#2", f"{left}:4001", f"{right}:99"],
    ]
    assert [line[9:35].rstrip(" ─") for line in lines[1:3] + lines[4:]] == [
        "#1 ── UDP len 31",
        "#1 ◀─ UDP len 47",
        "#2 ── UDP len 0",
        "#1 ◀─ UDP len 5",
    ]


def ends(family: str) -> tuple[str, str]:
    return {
        "IPv4": ("198.51.100.1", "198.51.100.2"),
        "IPv6": ("2001:db8::1", "2001:db8::2"),
    }[family]


def test_a_ping_is_a_conversation_of_one_identifier() -> None:
    exchange = quiet()
    for family in PAIRS:
        for seq in (1, 2):
            exchange.add("in", ping(reply=False, family=family, seq=seq))
            exchange.add("out", ping(reply=True, family=family, seq=seq))
    assert exchange.drawn(names=("kernel", "tunstack")) == expected(
        """
        |      ms #1 kernel 198.51.100.1 id 7     198.51.100.2 tunstack
        |   0.000 #1 ── ICMP echo request seq 1 len 56 ──────▶
        |   1.000 #1 ◀─ ICMP echo reply seq 1 len 56 ─────────
        |   2.000 #1 ── ICMP echo request seq 2 len 56 ──────▶
        |   3.000 #1 ◀─ ICMP echo reply seq 2 len 56 ─────────
        |      ms #2 kernel 2001:db8::1 id 7       2001:db8::2 tunstack
        |   4.000 #2 ── ICMPv6 echo request seq 1 len 56 ────▶
        |   5.000 #2 ◀─ ICMPv6 echo reply seq 1 len 56 ───────
        |   6.000 #2 ── ICMPv6 echo request seq 2 len 56 ────▶
        |   7.000 #2 ◀─ ICMPv6 echo reply seq 2 len 56 ───────
        """
    )


@pytest.mark.parametrize("family", PAIRS)
def test_the_pinger_is_on_the_left_even_if_the_reply_comes_first(family: str) -> None:
    page = drawn([ping(reply=True, family=family), ping(reply=False, family=family)])
    heading, reply, request = page.splitlines()
    assert heading.split() == ["ms", "#1", ends(family)[0], "id", "7", ends(family)[1]]
    assert (reply[12], request[12]) == ("◀", "─")


def test_many_datagrams_and_pings_are_folded() -> None:
    packets = [packet_of(udp(bytes(100)))] * 12
    for seq in range(8):
        packets += [ping(reply=reply, seq=seq) for reply in (False, True)]
    folds = [line[9:].strip() for line in drawn(packets).splitlines() if "…" in line]
    assert folds == [
        "#1 … 7 datagrams, 700 bytes →",
        "#2 … 5 messages, 280 bytes →, 6 messages, 336 bytes ←",
    ]
    assert "…" not in drawn(packets, full=True)


@pytest.mark.parametrize("family", PAIRS)
def test_an_error_is_in_the_conversation_that_it_is_about_and_names_the_packet(
    family: str,
) -> None:
    first, second = udp(b"first", **pair(family)), udp(b"other one", **pair(family))
    router = {"IPv4": bytes((198, 51, 100, 254)), "IPv6": OURS_6[:15] + b"\xfe"}[family]
    lines = drawn(
        [
            packet_of(first),
            packet_of(second),
            port_unreachable(family, second),
            port_unreachable(family, first, router),
            port_unreachable(family, udp(b"a third one", **pair(family))),
        ]
    ).splitlines()
    name = {"IPv4": "ICMP", "IPv6": "ICMPv6"}[family]
    assert [line[:40].rstrip(" ─") for line in lines[3::2]] == [
        f"   {time}.000 #1 ◀─ {name} port unreachable" for time in (2, 3, 4)
    ]
    address = {"IPv4": "198.51.100.254", "IPv6": "2001:db8::fe"}[family]
    assert [line.strip() for line in lines[4::2]] == [
        "about the packet at 1.000",
        f"from {address}, about the packet at 0.000",
        "about a packet not seen",
    ]


@pytest.mark.parametrize("family", PAIRS)
def test_an_error_about_tcp_has_the_relative_sequence_number(family: str) -> None:
    exchange = Exchange(family=family)
    exchange.handshake()
    exchange.send(PSH | ACK, 1, 1, payload=bytes(1448))
    exchange.send(PSH | ACK, 1449, 1, payload=bytes(1448))
    quoted = decode_datagram(exchange.observations[-1].packet)
    if family == "IPv4":
        message = IcmpMessage(icmp.DESTINATION_UNREACHABLE, 4, 1400, quoted=quoted)
    else:
        message = IcmpMessage(icmpv6.PACKET_TOO_BIG, 0, 1400, quoted=quoted)
    exchange.add("in", b"".join(encode_icmp(exchange.kernel, exchange.ours, message)))
    row, about = exchange.drawn().splitlines()[-2:]
    assert "#1 ── ICMP" in row
    assert {"IPv4": "fragmentation needed mtu 1400", "IPv6": "packet too big mtu 1400"}[
        family
    ] in row
    assert about.strip() == "about seq 1449, the packet at 4.000"


@pytest.mark.parametrize("family", PAIRS)
def test_an_error_about_a_ping(family: str) -> None:
    quoted = decode_datagram(ping(reply=False, family=family))
    lines = drawn([ping(reply=False, family=family), port_unreachable(family, quoted)])
    assert lines.splitlines()[-1].strip() == "about the packet at 0.000"
    assert " #1 ◀─ ICMP" in lines


def test_an_error_about_an_unknown_flow_names_both_ends() -> None:
    assert drawn([port_unreachable("IPv6", udp(**pair("IPv6")))]) == expected(
        """
        |      ms
        |   0.000    ── ICMPv6 port unreachable ────────────────────────────────▶
        |               from 2001:db8::2, to 2001:db8::1,
        |               about UDP from [2001:db8::1]:4000, to [2001:db8::2]:99
        """
    )


@pytest.mark.parametrize(
    ("kind", "code", "rest", "words"),
    [
        (1, 0, 0, "ICMPv6 no route to destination"),
        (1, 6, 0, "ICMPv6 destination unreachable code 6"),
        (3, 1, 0, "ICMPv6 reassembly time exceeded"),
        (4, 1, 40, "ICMPv6 unknown next header pointer 40"),
        (100, 0, 0, "ICMPv6 type 100"),
    ],
)
def test_errors_of_ipv6_have_names(kind: int, code: int, rest: int, words: str) -> None:
    quoted = udp(**pair("IPv6"))
    message = IcmpMessage(kind, code, rest, quoted=quoted)
    step = read_packet(0.0, b"".join(encode_icmp(OURS_6, KERNEL_6, message)))
    assert step.text == words


@pytest.mark.parametrize(
    ("kind", "code", "rest", "words"),
    [
        (3, 1, 0, "ICMP host unreachable"),
        (3, 15, 0, "ICMP destination unreachable code 15"),
        (4, 0, 0, "ICMP source quench"),
        (11, 0, 0, "ICMP time exceeded in transit"),
        (12, 0, 20 << 24, "ICMP parameter problem pointer 20"),
    ],
)
def test_errors_of_ipv4_have_names(kind: int, code: int, rest: int, words: str) -> None:
    message = IcmpMessage(kind, code, rest, quoted=udp())
    step = read_packet(0.0, b"".join(encode_icmp(OURS, KERNEL, message)))
    assert step.text == words


@pytest.mark.parametrize("family", PAIRS)
def test_fragments_are_in_the_conversation_of_their_datagram(family: str) -> None:
    datagram = udp(bytes(3000), identification=0x1234, **pair(family))
    lines = drawn(map(packet_of, fragmented(datagram, 1500))).splitlines()
    size = {"IPv4": 1480, "IPv6": 1448}[family]
    end = {"IPv4": 3008, "IPv6": 3008}[family]
    assert [line[9:].rstrip("▶ ─") for line in lines[1:]] == [
        f"#1 ── UDP len 3000 fragment 0:{size} id 4660",
        f"#1 ── UDP fragment {size}:{2 * size} id 4660",
        f"#1 ── UDP fragment {2 * size}:{end} last id 4660",
    ]


def test_fragments_without_the_first_name_both_ends() -> None:
    later = list(fragmented(udp(bytes(3000), identification=9, **pair("IPv6")), 1500))[1:]
    assert drawn(map(packet_of, later)) == expected(
        """
        |      ms
        |   0.000    ── UDP fragment 1448:2896 id 9 ────────────────────────────▶
        |               from 2001:db8::1, to 2001:db8::2
        |   1.000    ── UDP fragment 2896:3008 last id 9 ───────────────────────▶
        |               from 2001:db8::1, to 2001:db8::2
        """
    )


@pytest.mark.parametrize("family", PAIRS)
def test_an_error_about_a_fragmented_datagram(family: str) -> None:
    datagram = udp(bytes(3000), identification=9, **pair(family))
    parts = list(fragmented(datagram, 1500))
    errors = [port_unreachable(family, quoted) for quoted in (parts[0], datagram, parts[1])]
    lines = drawn([*map(packet_of, parts), *errors]).splitlines()
    assert [line.strip() for line in lines[-5::2]] == [
        "about the packet at 0.000",
        "about the packet at 0.000",
        "about the packet at 1.000",
    ]
    assert all("#1 ◀─ ICMP" in line for line in lines[-6::2])


def test_a_first_fragment_has_its_headers_read() -> None:
    """Those behind the fragment header as well."""
    upper = options_header(17) + packet_of(udp(bytes(1000), **pair("IPv6")))[40:]
    first = fragment_header(60, more=True) + upper[:400]
    step = read_packet(0.0, ipv6_packet(options_header(44) + first, next_header=60))
    assert step.text == "UDP len 1000 fragment 0:400 id 7"
    assert step.details == ("destination options", "destination options")


def test_tcp_fragments_are_marked_and_never_folded() -> None:
    """Which is nothing that a run folds."""
    segment = tcp_bytes(payload=bytes(200), flags=ACK)
    first = ipv4_packet(segment[:104], flags=0x2000)
    page = drawn([first] * 9)
    assert page.count("fragment 0:104") == 9
    assert "len 84" in page


def test_other_protocols_name_both_ends() -> None:
    exchange = quiet()
    exchange.add("in", packet_of(Datagram(KERNEL, OURS, 47, bytes(9))))
    exchange.add("in", packet_of(Datagram(KERNEL_6, OURS_6, 132, bytes(9))))
    exchange.add("in", b"\x45\x00", verdict="dropped: truncated")
    assert exchange.drawn() == expected(
        """
        |      ms
        |   0.000    ── protocol 47, 9 bytes ────────────────▶
        |               from 198.51.100.1, to 198.51.100.2
        |   1.000    ── protocol 132, 9 bytes ───────────────▶
        |               from 2001:db8::1, to 2001:db8::2
        |   2.000    ── 2 bytes: truncated ──────────────────▶
        |               ! dropped: truncated
        """
    )


def test_neighbour_discovery_is_shown_only_in_full() -> None:
    message = IcmpMessage(icmpv6.ROUTER_SOLICITATION, 0, 0, b"")
    all_routers = bytes.fromhex("ff020000000000000000000000000002")
    packet = b"".join(encode_icmp(bytes.fromhex("fe80") + KERNEL_6[2:], all_routers, message))
    ladder = Ladder()
    assert ladder.add(read_packet(0.0, packet)) == []
    assert ladder.left_out == {"ICMPv6 router solicitation": 1}
    assert ladder.empty
    assert "ICMPv6 router solicitation len 0" in drawn([packet], full=True)


def test_only_a_udp_port_keeps_its_errors_and_fragments() -> None:
    wanted = udp(bytes(3000), identification=9)
    parts = list(map(packet_of, fragmented(wanted, 1500)))
    other = udp(sport=1, dport=54, identification=8)
    packets = [
        *parts,
        packet_of(other),
        ping(reply=False),
        port_unreachable("IPv4", wanted),
        port_unreachable("IPv4", other),
    ]
    page = drawn(packets, only=[99])
    assert page.count("#1") == 1 + len(parts) + 1
    assert "#2" not in page
    assert drawn(packets, only=[7]) == ""  # The identifier of the ping is no port.


def test_long_notes_are_wrapped_without_control_characters() -> None:
    ladder = Ladder()
    note = "a\x1b[31mred\nnote " * 20
    lines = ladder.add(step_from_capture(0.0, ping(reply=False), note))
    texts = [plain_text(line) for line in lines]
    assert all(text.isprintable() and len(text) <= 80 for text in texts)
    assert texts[2].startswith("               ! a [31mred note")


def test_packets_for_matching_errors_are_bounded() -> None:
    """An error about what is too long ago is in its conversation all the same."""
    first = udp(b"first")
    packets = [packet_of(first)]
    packets += [packet_of(udp(bytes(4), identification=number)) for number in range(5000)]
    page = drawn([*packets, port_unreachable("IPv4", first)])
    assert page.splitlines()[-1].strip() == "about a packet not seen"
    assert "#1 ◀─ ICMP port unreachable" in page


MALFORMED = [
    ipv6_packet(options_header(43) + routing_header(17, 0, 3) + bytes(8), next_header=0),
    ipv6_packet(fragment_header(44, more=True) + fragment_header(17) + bytes(16), next_header=44),
    ipv6_packet(fragment_header(17, 65528) + bytes(64), next_header=44),
    ipv6_packet(fragment_header(60, more=True) + bytes((17, 200)) + bytes(22), next_header=44),
    ipv6_packet(icmp_bytes(1, 4, 0, ipv6_packet(bytes(8), next_header=17)), next_header=ICMPV6),
    ipv4_packet(icmp_bytes(3, 3, 0, ipv4_packet(bytes(8), protocol=17)), protocol=ICMP),
    ipv4_packet(icmp_bytes(3, 3, 0, ipv6_packet(bytes(8), next_header=17)), protocol=ICMP),
    ipv4_packet(tcp_bytes(bytes((8, 10)) + bytes(10), b"data"), flags=0x2000),
    packet_of(udp(bytes(40), identification=5)),
    packet_of(udp(b"\x12\x34\x81\x80\0\1\0\1\0\0\0\0\4peer\4test\0\0\1\0\1", dport=53)),
    ipv4_packet(tcp_bytes(payload=b"\0\x20" + bytes(32), flags=ACK, dport=53)),
    ipv6_packet(
        tcp_bytes(
            payload=b"\x16\3\1\0\x40\1\0\0\x3c\3\3" + bytes(60),
            flags=ACK,
            addresses=KERNEL_6 + OURS_6,
        ),
        next_header=6,
    ),
    ipv4_packet(tcp_bytes(payload=b"\x15\3\3\0\2\2\x28\x17\3\3\0\x13", flags=ACK)),
]


@examples
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=120),
            st.builds(
                lambda packet, at, octets: packet[:at] + octets + packet[at + len(octets) :],
                st.sampled_from(MALFORMED),
                st.integers(0, 80),
                st.binary(max_size=6),
            ),
            st.builds(
                lambda octets, kind: ipv6_packet(octets, next_header=kind),
                st.binary(max_size=120),
                st.sampled_from([0, 6, 17, 43, 44, 58, 59, 60]),
            ),
            st.builds(
                lambda octets, kind, flags: ipv4_packet(octets, protocol=kind, flags=flags),
                st.binary(max_size=120),
                st.sampled_from([1, 6, 17, 58]),
                st.integers(0, 0x3FFF),
            ),
            st.builds(
                lambda packet, size: packet[:size], st.sampled_from(MALFORMED), st.integers(0, 120)
            ),
        ),
        max_size=6,
    ),
    st.booleans(),
)
def test_no_malformed_packet_raises_or_exceeds_80_columns(packets: list[bytes], full: bool) -> None:
    for states in (True, False):
        page = drawn(packets, full=full, states=states, names=("kernel", "tunstack"))
        assert max(map(len, page.splitlines()), default=0) <= 80
