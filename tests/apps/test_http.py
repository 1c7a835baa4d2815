"""The http app: what it answers, how it keeps a connection alive, and how it ends one."""

from __future__ import annotations

import hashlib
import re
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from tests.apps.serving import called, read_to_end, served
from tunstack.apps import http

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

_BLOCK = hashlib.shake_128(b"tunstack").digest(65521)


def expected_bytes(count: int) -> bytes:
    """What the module's docstring says of /bytes/N, computed another way."""
    return (_BLOCK * (count // len(_BLOCK) + 1))[:count]


class _Form:
    """In which form the app is served."""

    name = "handler"


@pytest.fixture(autouse=True, params=["handler", "protocol"])
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_Form, "name", request.param)


def serving() -> AbstractAsyncContextManager[trio.abc.HalfCloseableStream]:
    """Serve the app; the block gets a client's stream."""
    return called(http.protocol) if _Form.name == "protocol" else served(http.handler)


async def exchange(request: bytes) -> bytes:
    """Send all of `request`, end our half, and return all that came."""
    async with serving() as client:
        await client.send_all(request)
        await client.send_eof()
        return await read_to_end(client)


def split(answer: bytes) -> tuple[int, dict[str, str], bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.decode("ascii").split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    return int(status.split()[1]), headers, body


def split_all(answers: bytes) -> list[tuple[int, dict[str, str], bytes]]:
    result = []
    while answers:
        status, headers, rest = split(answers)
        length = int(headers["Content-Length"])
        result.append((status, headers, rest[:length]))
        answers = rest[length:]
    return result


def request(method: str, target: str, *headers: str, version: str = "1.1", body: str = "") -> bytes:
    lines = [f"{method} {target} HTTP/{version}", "Host: x", *headers, "", body]
    return "\r\n".join(lines).encode()


async def test_root_is_a_short_page() -> None:
    status, headers, body = split(await exchange(request("GET", "/")))
    assert status == 200
    assert headers["Content-Type"].startswith("text/html")
    assert int(headers["Content-Length"]) == len(body)
    assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", headers["Date"])
    assert b"<h1>It works</h1>" in body


@pytest.mark.parametrize("count", [0, 1, 65521, 65522, 262084, 262085, 1_000_000])
async def test_bytes_are_as_many_as_asked_for_and_as_documented(count: int) -> None:
    status, headers, body = split(await exchange(request("GET", f"/bytes/{count}")))
    assert (status, headers["Content-Length"]) == (200, str(count))
    assert body == expected_bytes(count)


async def test_a_small_answer_goes_out_in_one_piece() -> None:
    sent: list[bytes] = []

    async def record() -> None:
        sent.append(bytes(outgoing.get_data_nowait()))

    outgoing = trio.testing.MemorySendStream(send_all_hook=record)
    asking, incoming = trio.testing.memory_stream_one_way_pair()
    await asking.send_all(request("GET", "/bytes/500"))
    await asking.aclose()
    await http.handler(trio.StapledStream(outgoing, incoming))
    assert [split(data)[2] for data in sent] == [expected_bytes(500)]


@pytest.mark.parametrize("target", ["/", "/bytes/123456789012"])
async def test_head_has_the_headers_of_get_and_no_body(target: str) -> None:
    status, headers, body = split(await exchange(request("HEAD", target)))
    assert (status, body) == (200, b"")
    assert int(headers["Content-Length"]) > 0


@pytest.mark.parametrize("method", ["PUT", "POST"])
async def test_sha256_hashes_a_body_of_known_length(method: str) -> None:
    asked = request(method, "/sha256", "Content-Length: 3", body="abc")
    status, _, body = split(await exchange(asked))
    assert status == 200
    assert body.decode() == hashlib.sha256(b"abc").hexdigest() + "\n"


async def test_sha256_hashes_a_chunked_body() -> None:
    asked = request(
        "POST", "/sha256", "Transfer-Encoding: chunked", body="2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
    )
    assert split(await exchange(asked))[2].decode() == hashlib.sha256(b"abc").hexdigest() + "\n"


async def test_a_client_that_expects_a_go_ahead_gets_it_before_its_body_is_read() -> None:
    async with serving() as client:
        await client.send_all(
            request("PUT", "/sha256", "Content-Length: 3", "Expect: 100-continue")
        )
        assert await client.receive_some() == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.send_all(b"abc")
        await client.send_eof()
        status, _, body = split(await read_to_end(client))
    assert (status, body.decode()) == (200, hashlib.sha256(b"abc").hexdigest() + "\n")


async def test_a_client_that_expects_a_go_ahead_gets_an_error_in_its_place() -> None:
    async with serving() as client:
        await client.send_all(request("PUT", "/nope", "Content-Length: 3", "Expect: 100-continue"))
        status, headers, _ = split(await read_to_end(client))
        assert (status, headers["Connection"]) == (404, "close")
        await client.send_eof()


async def test_requests_may_be_pipelined() -> None:
    asked = (
        request("GET", "/bytes/3")
        + request("PUT", "/sha256", "Content-Length: 3", body="abc")
        + request("GET", "/bytes/300000")
    )
    answers = split_all(await exchange(asked))
    assert [status for status, _, _ in answers] == [200, 200, 200]
    assert answers[0][2] == expected_bytes(3)
    assert answers[2][2] == expected_bytes(300000)


@pytest.mark.parametrize(
    ("version", "wish", "answer", "stays"),
    [
        ("1.1", None, None, True),
        ("1.1", "Close", "close", False),
        ("1.0", None, "close", False),
        ("1.0", "Keep-Alive", "keep-alive", True),
    ],
)
async def test_a_connection_stays_open_by_version_and_wish(
    version: str, wish: str | None, answer: str | None, stays: bool
) -> None:
    asked = request("GET", "/", *([f"Connection: {wish}"] if wish else []), version=version)
    answers = split_all(await exchange(asked + asked))
    assert [headers.get("Connection") for _, headers, _ in answers] == [answer] * (1 + stays)


async def test_a_request_in_the_form_for_proxies_is_understood() -> None:
    assert split(await exchange(request("GET", "http://x/bytes/3?y=1")))[2] == expected_bytes(3)
    assert split(await exchange(request("GET", "http://x")))[0] == 200


@pytest.mark.parametrize(
    ("asked", "status", "says"),
    [
        (request("GET", "/nope"), 404, "no '/nope' here: there are /, /bytes/N and /sha256"),
        (request("GET", "/bytes/"), 400, "/bytes/N takes a number from 0 to 1099511627776"),
        (request("GET", "/bytes/-1"), 400, "not '-1'"),
        (request("GET", "/bytes/1099511627777"), 400, "not '1099511627777'"),
        (request("GET", "/bytes/" + "9" * 5000), 400, "takes a number"),
        (request("DELETE", "/"), 405, "DELETE makes no sense here: GET, HEAD do"),
        (request("CONNECT", "x:1"), 404, "no 'x:1' here"),
        (request("GET", "/sha256"), 405, "PUT, POST do"),
        (b"\x16\x03\x01 nonsense\r\n\r\n", 400, "bad request"),
        (b"GET / HTTP/1.1\r\n\r\n", 400, "Host"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n", 400, "closed"),
        (b"GET / HTTP/1.1\r\nHost: " + b"x" * 70_000, 431, "too long"),
        (request("PUT", "/sha256", "Content-Length: 9", body="abc"), 400, "closed"),
        (request("PUT", "/sha256", "Transfer-Encoding: chunked", body="z\r\n"), 400, "bad request"),
        (request("PUT", "/sha256", "Transfer-Encoding: gzip"), 501, "gzip|Transfer-Encoding"),
    ],
)
async def test_nonsense_is_answered_with_what_was_wrong(
    asked: bytes, status: int, says: str
) -> None:
    answered, headers, body = split(await exchange(asked))
    assert answered == status
    assert re.search(says, body.decode()), body
    assert int(headers["Content-Length"]) == len(body)


@pytest.mark.parametrize(("target", "allow"), [("/", "GET, HEAD"), ("/sha256", "PUT, POST")])
async def test_a_wrong_method_gets_405_with_allow(target: str, allow: str) -> None:
    assert split(await exchange(request("PATCH", target)))[1]["Allow"] == allow


async def test_a_small_body_that_nobody_asked_for_does_not_end_the_connection() -> None:
    asked = request("GET", "/bytes/3", "Content-Length: 5", body="hello") + request("GET", "/")
    assert [status for status, _, _ in split_all(await exchange(asked))] == [200, 200]


async def test_a_client_that_ends_without_a_request_is_not_answered() -> None:
    assert await exchange(b"") == b""


async def test_an_error_for_a_body_that_is_still_coming_arrives_and_no_reset() -> None:
    """Over kernel sockets, where closing with unread data would reset the connection."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listeners[0] as listener, trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, http.handler, [listener])
        with trio.fail_after(5):
            async with await trio.testing.open_stream_to_socket_listener(listener) as client:
                await client.send_all(request("PUT", "/nope", "Content-Length: 1000000"))
                answer = bytes(await client.receive_some())
                await client.send_all(b"x" * 1_000_000)
                await client.send_eof()
                answer += await read_to_end(client)
        assert split(answer)[0] == 404
        nursery.cancel_scope.cancel()


async def test_a_client_that_never_stops_sending_is_left(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with serving() as client:
        await client.send_all(request("PUT", "/nope", "Content-Length: 1000000000"))
        assert split(await read_to_end(client))[0] == 404
        with suppress(trio.BrokenResourceError):
            while _Form.name == "protocol":
                await client.send_all(b"x")
                await trio.sleep(0.1)
        # The block ends when the handler does: after a while, though we have not ended our half.
    assert trio.current_time() > 1
