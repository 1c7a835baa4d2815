"""TLS on the ladder, of real handshakes: what is said in the open, and what is encrypted."""

from __future__ import annotations

import random
import ssl
from itertools import repeat
from textwrap import dedent
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ladder.exchange import Exchange
from tests.ladder.spoken import CLIENT, SERVER, Talk, in_pieces, messages_in, tls_talk
from tests.wire.packets import examples
from tunstack.ladder import Ladder, plain_text, read_packet
from tunstack.tcp.segment import ACK, PSH

if TYPE_CHECKING:
    from tests.ladder.spoken import Said

NEW, OLD = ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2
ALERT_40 = b"\x15\x03\x03\x00\x02\x02\x28"


def record(kind: int, body: bytes) -> bytes:
    return bytes((kind, 3, 3)) + len(body).to_bytes(2, "big") + body


def told(said: list[Said], **options: object) -> list[str]:
    return messages_in(Talk(said, most=4000).drawn(width=120, **options))[2:]


def without_sizes(lines: list[str]) -> list[str]:
    """The lines without octets, which differ from one certificate to the next."""
    return [", ".join(word for word in line.split(", ") if not word[0].isdigit()) for line in lines]


def test_a_handshake_of_tls_1_3_is_encrypted_after_the_hellos() -> None:
    assert without_sizes(told(tls_talk())) == [
        "TLS ClientHello, server name peer.test, versions 1.3 1.2, ALPN h2 http/1.1",
        "TLS ServerHello, TLS 1.3, TLS_AES_256_GCM_SHA384",
        "TLS ChangeCipherSpec",
        "TLS handshake, encrypted",
        "TLS ChangeCipherSpec",
        "TLS handshake, encrypted",
        *["TLS application data, encrypted"] * 3,
        *["TLS application data, encrypted, as long as an alert"] * 2,
    ]


def test_a_handshake_of_tls_1_2_shows_the_certificate() -> None:
    assert without_sizes(told(tls_talk(newest=OLD))) == [
        "TLS ClientHello, server name peer.test, versions 1.2, ALPN h2 http/1.1",
        "TLS ServerHello, TLS 1.2, TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, ALPN h2",
        "TLS Certificate, for peer.test www.peer.test",
        "TLS ServerKeyExchange, ServerHelloDone",
        "TLS ClientKeyExchange, ChangeCipherSpec",
        "TLS Finished, encrypted",
        "TLS NewSessionTicket, ChangeCipherSpec",
        "TLS Finished, encrypted",
        *["TLS application data, encrypted"] * 2,
        *["TLS alert, encrypted"] * 2,
    ]


def test_encrypted_records_have_their_length() -> None:
    lines = told(tls_talk(question=bytes(100), answer=bytes(40_000)), full=True)
    # A record has its content type and a tag beside the data (RFC 8446 section 5.2).
    assert "TLS application data, encrypted, 117 bytes" in lines
    assert lines.count("TLS application data, encrypted, 16401 bytes") == 2


def test_a_refused_certificate_is_an_alert() -> None:
    assert "TLS alert unknown_ca, fatal" in told(
        [(CLIENT, record(21, b"\x02\x30")), (SERVER, ALERT_40)]
    )


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"\x02\x28", "TLS alert handshake_failure, fatal"),
        (b"\x01\x00", "TLS alert close_notify"),
        (b"\x02\x78", "TLS alert no_application_protocol, fatal"),
        (b"\x02\xff", "TLS alert number 255, fatal"),
        (b"\x02", "TLS alert, malformed"),
    ],
)
def test_alerts_have_names(body: bytes, says: str) -> None:
    assert told([(SERVER, record(21, body))]) == [says]


def test_a_hello_of_another_name_and_of_none() -> None:
    hello = tls_talk(name="other.test")[0]
    assert told([hello])[0].startswith("TLS ClientHello, server name other.test, ")


@pytest.mark.parametrize("size", [1, 2, 5, 6, 7, 100])
@pytest.mark.parametrize("newest", [NEW, OLD])
def test_records_are_read_across_segments(newest: ssl.TLSVersion, size: int) -> None:
    said = tls_talk(newest=newest)
    apart = told(list(in_pieces(said, repeat(size))), full=True)
    assert words_of(apart) == words_of(told(said))


def words_of(lines: list[str]) -> set[str]:
    """What is said, in whichever lines."""
    return {word.removeprefix("TLS ") for line in without_sizes(lines) for word in line.split(", ")}


def hellos(page: str) -> list[str]:
    return [line for line in messages_in(page) if "Hello" in line]


def test_segments_out_of_order_and_repeated_are_put_in_order() -> None:
    said = tls_talk()
    whole = Talk(said, most=300)
    chance = random.Random(5)
    expected = hellos(whole.drawn(width=120))
    assert len(expected) == 2
    for _ in range(20):
        packets = [seen.packet for seen in whole.observations[3:]]
        packets += chance.choices(packets, k=3)
        chance.shuffle(packets)
        ladder = Ladder(width=120, states=False, full=True)
        lines = []
        first = [seen.packet for seen in whole.observations[:3]]
        for packet in [*first, *packets]:
            lines += ladder.add(read_packet(1.0, packet))
        page = "\n".join(plain_text(line) for line in lines)
        assert sorted(hellos(page)) == sorted(expected)


def test_what_a_capture_lacks_of_a_record_is_passed_over() -> None:
    """As with a snapshot length, of records whose contents are not read."""
    talk = Talk([(SERVER, record(23, bytes(3000)))], most=1500)
    talk.say(SERVER, ALERT_40)
    ladder = Ladder(width=120, states=False)
    lines = []
    for seen in talk.observations:
        lines += ladder.add(read_packet(seen.time, seen.packet[:200]))
    texts = messages_in("\n".join(plain_text(line) for line in lines))
    assert texts[2:] == [
        "TLS application data, encrypted, 3000 bytes",
        "TLS alert handshake_failure, fatal",
    ]


def test_a_capture_that_lacks_segments_is_read_on_behind_them() -> None:
    talk = Talk([(SERVER, record(23, bytes(16000)) * 20)], most=1000)
    del talk.observations[8]
    talk.say(SERVER, ALERT_40)
    assert "TLS alert handshake_failure, fatal" in talk.drawn()


def test_a_connection_joined_midway_is_read_from_a_record_on() -> None:
    talk = Talk(tls_talk())
    del talk.observations[:6]
    lines = messages_in(talk.drawn())
    assert any(line.startswith("TLS application data, encrypted") for line in lines)


def test_many_records_are_folded() -> None:
    page = Talk([(SERVER, record(23, bytes(1000)))] * 20).drawn()
    assert page.count("TLS application data") == 5
    assert "… 15 segments, 15075 bytes ←" in page
    assert Talk([(SERVER, ALERT_40)] * 20).drawn().count("handshake_failure") == 20


def test_what_was_dropped_is_not_read() -> None:
    """Else a segment that the receiver refused would be taken for the one that comes later."""
    talk = Talk()
    talk.receive(PSH | ACK, 1, 1, payload=bytes(517), verdict="dropped: bad TCP checksum")
    for side, data in tls_talk():
        talk.say(side, data)
    assert "TLS ClientHello, server name peer.test" in talk.drawn()


def test_other_octets_are_not_taken_for_tls() -> None:
    talk = Talk([(CLIENT, b"GET / HTTP/1.1\r\n\r\n"), (SERVER, bytes(200))])
    assert "TLS" not in talk.drawn()


def test_a_second_connection_of_the_same_ports_is_read_anew() -> None:
    talk = Talk(tls_talk())
    talk.isn["in"] += 5_000_000
    talk.octets = {CLIENT: 1, SERVER: 1}
    talk.state = "LISTEN"
    talk.handshake()
    for side, data in tls_talk(newest=OLD):
        talk.say(side, data)
    assert talk.drawn().count("TLS ClientHello") == 2


def test_a_handshake_message_that_is_too_long_is_not_kept() -> None:
    long = b"\x0b" + (1 << 20).to_bytes(3, "big")
    rest = [(SERVER, record(22, bytes(16384)))] * 64
    said = [(SERVER, record(22, long)), *rest, (SERVER, record(22, b"\x0e\0\0\0"))]
    assert told(said)[-2:] == ["TLS Certificate, 1048576 bytes", "TLS ServerHelloDone"]


def test_names_that_are_no_text_are_made_printable_and_short() -> None:
    hello = bytearray(tls_talk(name="a" * 63 + ".test")[0][1])
    at = hello.index(b"aaaa")
    hello[at : at + 3] = b"\x1b[\xff"
    page = Talk([(CLIENT, bytes(hello))]).drawn()
    assert "\x1b" not in page
    assert max(map(len, page.splitlines())) <= 80
    assert "server name ?[\\xff" in page


def test_a_connection_over_80_columns_never() -> None:
    for newest in (NEW, OLD):
        page = Talk(tls_talk(newest=newest)).drawn(names=("kernel", "tunstack"))
        assert max(map(len, page.splitlines())) <= 80


def test_the_handshake_in_80_columns() -> None:
    page = Talk(tls_talk(newest=NEW)[:1]).drawn().splitlines()[-3:]
    expected = dedent(
        """\
        |   3.000 #1 ── PSH,ACK seq 1 len 517 ack 1 ─────────▶ ESTABLISHED
        |               TLS ClientHello, server name peer.test, versions 1.3 1.2,
        |               ALPN h2 http/1.1"""
    ).replace("|", "")
    assert "\n".join(page) == expected


SAID = [*tls_talk(), *tls_talk(newest=OLD)]


@examples
@given(
    st.lists(
        st.tuples(
            st.sampled_from(SAID),
            st.integers(0, 1500),
            st.binary(max_size=8),
            st.integers(0, 40),
            st.integers(1, 1448),
        ),
        max_size=5,
    )
)
def test_damaged_records_never_raise_or_exceed_80_columns(
    parts: list[tuple[Said, int, bytes, int, int]],
) -> None:
    exchange = Exchange()
    exchange.handshake()
    seqs = {CLIENT: 1, SERVER: 1}
    for (side, data), at, octets, back, most in parts:
        damaged = data[:at] + octets + data[at + len(octets) :]
        tell = exchange.receive if side == CLIENT else exchange.send
        for begin in range(0, len(damaged), most):
            payload = damaged[begin : begin + most]
            tell(PSH | ACK, max(1, seqs[side] - back), 1, payload=payload)
            seqs[side] += len(payload)
    page = exchange.drawn()
    assert max(map(len, page.splitlines())) <= 80
