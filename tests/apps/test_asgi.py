"""ASGI applications over a stream: what a client sees, and what the application does."""

from __future__ import annotations

import logging
import tracemalloc
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from tests.apps import http2
from tests.apps.http2 import END_STREAM, ENHANCE_YOUR_CALM, Frames, frame, request
from tests.apps.serving import read_to_end, served
from tests.apps.test_frames import FLOODS
from tunstack import SetupError
from tunstack.apps.asgi import Server, lifespan
from tunstack.apps.pages import application as pages

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.apps.serving import _Client

GET = b"GET %s HTTP/1.1\r\nHost: peer.test\r\nConnection: close\r\n\r\n"


async def answer(send: Any, body: bytes, status: int = 200) -> None:
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Each path does something else."""
    assert scope["type"] == "http"
    match scope["path"]:
        case "/raises":
            raise ValueError("as it should")
        case "/raises-late":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"part", "more_body": True})
            raise ValueError("as it should")
        case "/stays":
            await trio.sleep_forever()
        case "/slow":
            await trio.sleep(1)
            await answer(send, b"slow")
        case "/hears":
            while (await receive())["type"] != "http.disconnect":
                pass
        case "/endless":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            while True:
                await send({"type": "http.response.body", "body": bytes(16384), "more_body": True})
        case "/scope":
            await answer(send, f"{scope['scheme']} {scope['http_version']}".encode())
        case _:
            await answer(send, b"fine")


async def fetch(server: Server, path: bytes = b"/") -> bytes:
    async with served(server.handler()) as client:
        await client.send_all(GET % path)
        return await read_to_end(client)


@asynccontextmanager
async def http2_client(server: Server) -> AsyncIterator[_Client]:
    async with served(server.handler()) as client:
        await client.send_all(http2.HELLO)
        yield client


async def test_http1_is_served() -> None:
    assert (await fetch(Server(application))).endswith(b"\r\n\r\nfine")
    assert (await fetch(Server(application), b"/scope")).endswith(b"\r\n\r\nhttp 1.1")


async def test_http2_is_served_to_those_who_know() -> None:
    async with http2_client(Server(application)) as client:
        await client.send_all(request(1, b"/scope"))
        body = await body_of(client, 1)
        await client.send_eof()
    assert body == b"http 2"


async def test_the_last_data_frame_ends_the_response() -> None:
    """A client that has closed after the last octet would answer another frame with a RST."""
    async with http2_client(Server(application)) as client:
        await client.send_all(request(1))
        data = []
        async for each in Frames(client):
            if each.stream == 1 and each.kind == http2.DATA:
                data.append((bytes(each.payload), each.flags & END_STREAM))
                if each.flags & END_STREAM:
                    break
        await client.send_eof()
    assert data == [(b"fine", END_STREAM)]


async def test_http1_is_upgraded_to_http2() -> None:
    async with served(Server(application).handler()) as client:
        await client.send_all(
            b"GET /scope HTTP/1.1\r\nHost: peer.test\r\nConnection: Upgrade, HTTP2-Settings\r\n"
            b"Upgrade: h2c\r\nHTTP2-Settings: \r\n\r\n"
        )
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += await client.receive_some(1)
        assert head.startswith(b"HTTP/1.1 101 ")
        await client.send_all(http2.HELLO)
        assert await body_of(client, 1) == b"http 2"
        await client.send_eof()


async def body_of(client: trio.abc.ReceiveStream, number: int) -> bytes:
    body = b""
    async for each in Frames(client):
        if each.stream == number and each.kind == http2.DATA:
            body += each.payload
            if each.flags & END_STREAM:
                return body
    raise AssertionError("no end of the response")


async def test_an_application_that_raises_answers_500_and_others_go_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = Server(application)
    assert (await fetch(server, b"/raises")).startswith(b"HTTP/1.1 500 ")
    assert "the application raised, asked for GET /raises" in caplog.text
    assert "ValueError: as it should" in caplog.text
    assert (await fetch(server)).endswith(b"fine")
    assert server.refused == {}


async def test_one_that_raises_in_the_middle_closes_its_http1_connection(
    caplog: pytest.LogCaptureFixture,
) -> None:
    answer = await fetch(Server(application), b"/raises-late")
    assert answer.endswith(b"4\r\npart\r\n")  # The last chunk of the body is not there.
    assert "ValueError: as it should" in caplog.text


async def test_one_that_raises_in_the_middle_resets_its_http2_stream_only(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with http2_client(Server(application)) as client:
        await client.send_all(request(1, b"/raises-late"))
        async for each in Frames(client):
            if each.kind == http2.RST_STREAM:
                break
        assert (each.stream, each.error) == (1, 2)
        await client.send_all(request(3))
        assert await body_of(client, 3) == b"fine"
        await client.send_eof()
    assert "ValueError: as it should" in caplog.text


@pytest.mark.parametrize("server", [Server(application), Server(pages)], ids=["own", "pages"])
async def test_an_answer_does_not_wait_for_a_body_that_nobody_reads(server: Server) -> None:
    head = b"POST /nothing HTTP/1.1\r\nHost: peer.test\r\nContent-Length: 5000000\r\n\r\n"
    async with served(server.handler()) as client, trio.open_nursery() as nursery:

        @nursery.start_soon
        async def send() -> None:
            await client.send_all(head + bytes(5_000_000))
            await client.send_eof()

        answer = await read_to_end(client)
    assert answer.startswith(b"HTTP/1.1 ")


async def test_data_after_an_answer_disturbs_no_other_stream() -> None:
    server = Server(application)
    async with http2_client(server) as client:
        await client.send_all(request(1, method=b"POST", end=False))
        assert await body_of(client, 1) == b"fine"
        await client.send_all(frame(http2.DATA, bytes(1000), stream=1) + request(3))
        assert await body_of(client, 3) == b"fine"
        await client.send_eof()
    assert server.refused == {}


async def test_the_end_of_the_clients_half_waits_for_the_answer(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with served(Server(application).handler()) as client:
        await client.send_all(GET % b"/slow")
        await client.send_eof()
        assert (await read_to_end(client)).endswith(b"slow")


async def test_an_application_hears_that_a_client_is_gone(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with trio.open_nursery() as nursery:
        client, stream = trio.testing.memory_stream_pair()
        heard = trio.Event()

        async def hears(scope: Any, receive: Any, send: Any) -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            heard.set()

        nursery.start_soon(Server(hears).handler(), stream)
        await client.send_all(GET % b"/")
        await trio.testing.wait_all_tasks_blocked()
        await client.aclose()
        await heard.wait()
    assert trio.current_time() < 8


@pytest.mark.parametrize("path", [b"/stays", b"/hears"])
async def test_an_application_that_does_not_end_is_cancelled_after_its_connection(
    path: bytes, autojump_clock: trio.testing.MockClock
) -> None:
    client, stream = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Server(application).handler(), stream)
        await client.send_all(GET % path)
        await trio.testing.wait_all_tasks_blocked()
        await client.aclose()
    assert trio.current_time() < 60


@pytest.mark.parametrize(
    "start", [b"", b"GET / HTTP/1.1\r\nHost: ", http2.HELLO, http2.HELLO + request(1)[:20]]
)
async def test_a_connection_without_a_request_is_closed_in_time(
    start: bytes, autojump_clock: trio.testing.MockClock
) -> None:
    client, stream = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Server(application).handler(), stream)
        await client.send_all(start)
        await read_to_end(client)
    assert 30 <= trio.current_time() < 40


async def test_a_write_that_nobody_reads_ends_with_the_server() -> None:
    client, stream = trio.testing.lockstep_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Server(application).handler(), stream)
        await client.send_all(GET % b"/endless")
        await client.receive_some(1)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("name", FLOODS)
async def test_a_flood_is_refused_and_others_go_on(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "tunstack")
    server = Server(application)
    async with http2_client(server) as client, trio.open_nursery() as nursery:
        nursery.start_soon(flood, client, name)
        received = [each async for each in Frames(client)]
        assert (received[-1].kind, received[-1].error) == (http2.GOAWAY, ENHANCE_YOUR_CALM)
        await client.aclose()
    assert server.refused == {"flood": 1}
    assert "HTTP connection refused: too many frames without use" in caplog.text
    assert (await fetch(server)).endswith(b"fine")


async def flood(client: trio.abc.SendStream, name: str) -> None:
    try:
        if name == "empty data":
            await client.send_all(request(1, b"/hears", method=b"POST", end=False))
        for number in range(1, 20_000, 2):
            data = FLOODS[name]
            if name == "reset":
                data = request(number, b"/hears") + frame(http2.RST_STREAM, bytes(4), stream=number)
            await client.send_all(data)
            await trio.lowlevel.checkpoint()
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass


async def test_headers_without_end_are_refused() -> None:
    server = Server(application)
    async with http2_client(server) as client:
        await client.send_all(frame(http2.HEADERS, http2.fields(), stream=1))
        await client.send_all(frame(http2.CONTINUATION, bytes(16000), stream=1) * 5)
        received = [each async for each in Frames(client)]
        await client.aclose()
    assert (received[-1].kind, received[-1].error) == (http2.GOAWAY, ENHANCE_YOUR_CALM)
    assert server.refused == {"flood": 1}


async def test_requests_that_an_application_keeps_are_limited(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Reset by the client, one a second, they do not count as streams, and the tasks go on."""
    caplog.set_level(logging.INFO, "tunstack")
    server = Server(application)
    client, stream = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.handler(), stream)
        await client.send_all(http2.HELLO)

        @nursery.start_soon
        async def send() -> None:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                for number in range(1, 100_000, 2):
                    reset = frame(http2.RST_STREAM, bytes(4), stream=number)
                    await client.send_all(request(number, b"/stays") + reset)
                    # What gives credit back: time.
                    await trio.sleep(1)

        received = [each async for each in Frames(client)]
        await client.aclose()
    assert received[-1].kind == http2.GOAWAY
    assert server.refused == {"flood": 1}
    assert "HTTP connection refused: too many requests" in caplog.text


async def test_streams_whose_windows_stay_shut_take_little_memory() -> None:
    """A hundred responses of a gigabyte, none of which the client lets come."""
    client, stream = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Server(pages).handler(), stream)
        await client.send_all(http2.PREFACE)
        await client.send_all(frame(http2.SETTINGS, b"\0\4\0\0\0\0"))  # INITIAL_WINDOW_SIZE
        await trio.testing.wait_all_tasks_blocked()
        tracemalloc.start()
        try:
            for number in range(1, 200, 2):
                await client.send_all(request(number, b"/bytes/1000000000"))
            with trio.move_on_after(2):
                await trio.testing.wait_all_tasks_blocked(0.02)
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        nursery.cancel_scope.cancel()
    assert most < 100 * 100_000


MALFORMED = {
    "no frames": b"\xff" * 400,
    "a frame above the size": frame(http2.DATA, bytes(20_000), stream=1),
    "data for no stream": frame(http2.DATA, b"x", stream=0),
    "data for an idle stream": frame(http2.DATA, b"x", stream=7),
    "headers that do not decode": frame(http2.HEADERS, b"\xff" * 40, stream=1, flags=5),
    "headers for an even stream": request(2),
    "no path": frame(
        http2.HEADERS, http2.literal(b":method", b"GET"), stream=1, flags=http2.END_HEADERS
    ),
    "a path that is not ASCII": request(1, b"/\xc3\xa4"),
    "a method that is not ASCII": request(1, method=b"\xc3\xa4"),
    "a stream that depends on itself": frame(http2.PRIORITY, b"\0\0\0\1\0", stream=1),
    "a continuation of nothing": frame(http2.CONTINUATION, b"", stream=1),
    "other frames within headers": frame(http2.HEADERS, b"", stream=1)
    + frame(http2.PING, bytes(8)),
    "a settings frame cut": frame(http2.SETTINGS, b"\0\1\0"),
    "a window above 2**31": frame(http2.WINDOW_UPDATE, b"\x7f\xff\xff\xff") * 2,
    "a window of nothing": frame(http2.WINDOW_UPDATE, bytes(4)),
    "a push": frame(http2.PUSH_PROMISE, bytes(4), stream=1, flags=4),
    "a bomb": frame(
        http2.HEADERS,
        http2.fields() + b"\x40\x01x\x7f\xa1\x1e" + bytes(4000) + b"\xbe" * 12_000,
        stream=1,
        flags=5,
    ),
}


@pytest.mark.parametrize("name", MALFORMED)
async def test_malformed_http2_ends_its_connection_and_no_other(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    server = Server(application)
    async with http2_client(server) as other:
        async with http2_client(server) as client:
            await client.send_all(MALFORMED[name])
            await client.send_eof()
            await read_to_end(client)
        await other.send_all(request(1))
        assert await body_of(other, 1) == b"fine"
        await other.send_eof()
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\0" * 99,
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
async def test_malformed_http1_is_a_400(data: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async with served(Server(application).handler()) as client:
        await client.send_all(data)
        await client.send_eof()
        assert (await read_to_end(client)).startswith(b"HTTP/1.1 400 ") or data[:1] in b"\x16\0"
    assert "Traceback" not in caplog.text


class Living:
    """An application with a lifespan."""

    def __init__(self, startup: str) -> None:
        self.startup = startup
        self.heard: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await answer(send, scope["state"]["word"].encode())
            return
        scope["state"]["word"] = "kept"
        while True:
            kind = (await receive())["type"]
            self.heard.append(kind)
            if kind == "lifespan.startup" and self.startup != "complete":
                await send({"type": "lifespan.startup.failed", "message": self.startup})
                return
            await send({"type": f"{kind}.complete"})
            if kind == "lifespan.shutdown":
                return


async def test_an_application_starts_up_and_shuts_down() -> None:
    app = Living("complete")
    async with lifespan(app, "m:app") as state:
        assert (await fetch(Server(app, state))).endswith(b"kept")
        assert app.heard == ["lifespan.startup"]
    assert app.heard == ["lifespan.startup", "lifespan.shutdown"]


async def test_an_application_shuts_down_when_it_is_interrupted() -> None:
    app = Living("complete")
    with trio.CancelScope() as scope:
        async with lifespan(app, "m:app"):
            scope.cancel()
            await trio.sleep_forever()
    assert app.heard == ["lifespan.startup", "lifespan.shutdown"]


async def test_an_application_that_fails_to_start_says_why() -> None:
    with pytest.raises(SetupError, match="the application m:app failed to start: no database"):
        async with lifespan(Living("no database"), "m:app"):
            raise AssertionError("not reached")


async def test_an_application_that_never_starts_is_given_up(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await trio.sleep_forever()

    with pytest.raises(SetupError, match="it does not start within 60 s"):
        async with lifespan(app, "m:app"):
            raise AssertionError("not reached")


async def test_an_application_without_a_lifespan_is_served() -> None:
    async with lifespan(application, "m:app") as state:
        assert (await fetch(Server(application, state))).endswith(b"fine")
