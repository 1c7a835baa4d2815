"""The credit of an HTTP/2 connection, with the frames' headers and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.apps import http2
from tests.apps.http2 import frame
from tunstack.apps.asgi.frames import CREDIT, MAX_HEADERS, PER_SECOND, Flood, FrameCredit


def received(*parts: bytes) -> FrameCredit:
    credit = FrameCredit(0.0)
    for part in parts:
        credit.receive(part, 0.0)
    return credit


FLOODS = {
    "reset": http2.request(1) + frame(http2.RST_STREAM, b"\0\0\0\x08", stream=1),
    "settings": frame(http2.SETTINGS),
    "ping": frame(http2.PING, bytes(8)),
    "priority": frame(http2.PRIORITY, bytes(5), stream=1),
    "empty data": frame(http2.DATA, stream=1),
    "window updates": frame(http2.WINDOW_UPDATE, b"\0\0\0\1"),
    "unknown": frame(0x77, b"?"),
}


@pytest.mark.parametrize("name", FLOODS)
def test_frames_without_use_run_out_of_credit(name: str) -> None:
    credit = received(http2.HELLO, FLOODS[name] * 90)
    with pytest.raises(Flood, match="without use"):
        credit.receive(FLOODS[name] * 1000, 0.0)


def test_requests_and_data_cost_nothing() -> None:
    credit = received(http2.HELLO)
    for number in range(1, 20_000, 2):
        credit.receive(http2.request(number, end=False), 0.0)
        credit.receive(frame(http2.DATA, bytes(1000), stream=number), 0.0)
    assert credit.credit == pytest.approx(CREDIT, abs=3)


def test_a_client_may_reset_one_request_in_six() -> None:
    credit = received(http2.HELLO)
    for number in range(1, 20_000, 2):
        credit.receive(http2.request(number), 0.0)
        if number % 12 == 1:
            credit.receive(frame(http2.RST_STREAM, bytes(4), stream=number), 0.0)


def test_windows_may_be_opened_for_what_is_sent() -> None:
    credit = received(http2.HELLO)
    for _ in range(20_000):
        credit.sent(1024)
        credit.receive(frame(http2.WINDOW_UPDATE, b"\0\0\4\0"), 0.0)


def test_time_gives_credit_back_and_no_more_than_there_was() -> None:
    credit = received(http2.HELLO)
    while credit.credit > 100:
        credit.receive(frame(http2.PING, bytes(8)), 0.0)
    before = credit.credit
    credit.receive(b"", 1.0)
    assert credit.credit == pytest.approx(before + PER_SECOND)
    credit.receive(b"", 1e9)
    assert credit.credit == CREDIT


def test_a_header_block_may_not_go_on_without_end() -> None:
    credit = received(http2.HELLO, frame(http2.HEADERS, bytes(16384), stream=1))
    for _ in range(MAX_HEADERS // 16384 - 1):
        credit.receive(frame(http2.CONTINUATION, bytes(16384), stream=1), 0.0)
    with pytest.raises(Flood, match="header block"):
        credit.receive(frame(http2.CONTINUATION, bytes(1), stream=1), 0.0)


@pytest.mark.parametrize("kind", [http2.DATA, http2.HEADERS, http2.SETTINGS, 0xFF])
def test_a_frame_above_the_size_is_refused_before_it_is_there(kind: int) -> None:
    with pytest.raises(Flood, match="a frame of 16385 octets") as caught:
        received(http2.HELLO, frame(kind, bytes(16385), stream=1)[:9])
    assert caught.value.code == 6


def test_blocks_that_end_do_not_add_up() -> None:
    credit = received(http2.HELLO)
    for number in range(1, 99, 2):
        block = frame(http2.HEADERS, bytes(16384), stream=number, flags=http2.END_HEADERS)
        credit.receive(block, 0.0)


@given(st.lists(st.integers(1, 40), max_size=200))
def test_it_does_not_matter_how_the_octets_arrive(cuts: list[int]) -> None:
    data = http2.HELLO + b"".join(FLOODS.values()) + http2.request(3)
    whole = received(data)
    pieces, at = [], 0
    for cut in cuts:
        pieces.append(data[at : at + cut])
        at += cut
    assert received(*pieces, data[at:]).credit == pytest.approx(whole.credit)
