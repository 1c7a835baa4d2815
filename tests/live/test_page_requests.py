"""What the page's server answers, and to whom."""

from __future__ import annotations

import errno
import re
from base64 import b64encode
from hashlib import sha256

import h11
import pytest
import trio

import tunstack
from tests.live.viewers import ADDRESS, PORT, Viewer, paged
from tunstack.live import serve_page

in_virtual_time = pytest.mark.trio(run=tunstack.run_virtual)

PARSES_HTML = re.compile(
    r"innerHTML|outerHTML|insertAdjacent|document\.write|DOMParser|eval\(|Function\("
)


@in_virtual_time
async def test_the_page_is_one_document_that_asks_nobody_else() -> None:
    async with paged() as it:
        answer = await (await it.viewer()).ask("/")
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    page = answer.body.decode()
    assert "{{" not in page
    links = re.findall(r'(?:src|href|action)="([^"]*)"', page)
    assert links == ["data:,", "#connections", "data"]
    assert not re.search(r"@import|url\(|https?://(?!www\.w3\.org/2000/svg)", page)


@in_virtual_time
async def test_the_policy_names_the_script_and_the_style_and_allows_no_other() -> None:
    async with paged() as it:
        answer = await (await it.viewer()).ask("/")
    policy = dict(
        each.strip().partition(" ")[::2]
        for each in answer.headers["content-security-policy"].split(";")
    )
    for name in ("script", "style"):
        (text,) = re.findall(f"<{name}>(.*?)</{name}>", answer.body.decode(), re.DOTALL)
        digest = b64encode(sha256(text.encode()).digest()).decode()
        assert policy[f"{name}-src"] == f"'sha256-{digest}'"
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["connect-src"] == "'self'"


@in_virtual_time
async def test_every_answer_has_the_headers_that_bind_a_browser() -> None:
    async with paged() as it:
        for target in ("/", "/data", "/nothing"):
            headers = (await (await it.viewer()).ask(target)).headers
            assert "default-src 'none'" in headers["content-security-policy"]
            assert headers["cross-origin-resource-policy"] == "same-origin"
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["cache-control"] == "no-store"
            assert "access-control-allow-origin" not in headers


@in_virtual_time
async def test_the_script_makes_text_of_what_packets_say_and_never_markup() -> None:
    async with paged() as it:
        page = (await (await it.viewer()).ask("/")).body.decode()
    assert "textContent" in page
    assert not PARSES_HTML.search(page)


@in_virtual_time
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"])
async def test_nothing_can_be_changed(method: str) -> None:
    async with paged() as it:
        viewer = await it.viewer()
        answer = await viewer.ask("/data", method)
        assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")
        assert await viewer.ended()


@in_virtual_time
@pytest.mark.parametrize("target", ["/", "/data"])
async def test_head_is_as_get_without_the_body(target: str) -> None:
    async with paged() as it:
        viewer = await it.viewer()
        whole, head = await viewer.ask(target), await viewer.ask(target, "HEAD")
        again = await viewer.ask(target)
    assert head.body == b""
    assert (head.status, again.status) == (200, 200)
    assert head.headers["content-type"] == whole.headers["content-type"]
    assert int(head.headers["content-length"]) > 0


@in_virtual_time
@pytest.mark.parametrize("target", ["/favicon.ico", "/data/", "/../etc/passwd", "//data", "*"])
async def test_there_is_nothing_else(target: str) -> None:
    async with paged() as it:
        assert (await (await it.viewer()).ask(target)).status == 404


@in_virtual_time
@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("port=x", "port is a number from 0 to 65535"),
        ("port=65536", "port is a number from 0 to 65535"),
        ("port=%C2%B2", "port is a number"),
        ("most=501", "most is a number from 0 to 500"),
        ("follow=-1", "follow is a number"),
        ("row=1e3", "row is a number"),
        ("order=size", "order is one of opened, rate, state, retransmissions, age"),
        ("colour=red", "there is no such parameter"),
        ("port", "bad query"),
    ],
)
async def test_a_query_that_makes_no_sense_is_told_why(query: str, says: str) -> None:
    async with paged() as it:
        answer = await (await it.viewer()).ask(f"/data?{query}")
    assert answer.status == 400
    assert says in answer.body.decode()
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"


@in_virtual_time
@pytest.mark.parametrize(
    ("host", "status"),
    [
        (f"{ADDRESS}:{PORT}", 200),
        (ADDRESS, 200),
        ("[2001:db8::2]:8000", 200),
        ("page.test:8000", 200),
        ("PAGE.test", 200),
        ("a.page.test:8000", 200),
        ("page.test.evil.example:8000", 421),
        ("evil.example:8000", 421),
        ("localhost:8000", 421),
        ("[::1", 421),
        ("", 421),
    ],
)
async def test_it_is_reached_by_an_address_or_by_a_name_of_its_own(host: str, status: int) -> None:
    """Or a name that was made to mean its address would let another site's page read it."""
    async with paged(names=["page.test", "*.Page.test"]) as it:
        assert (await (await it.viewer()).ask("/data", host=host)).status == status


@in_virtual_time
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"sec_fetch_site": "none"}, 200),
        ({"sec_fetch_site": "same-origin"}, 200),
        ({"sec_fetch_site": "cross-site"}, 403),
        ({"sec_fetch_site": "same-site"}, 403),
        ({"origin": f"http://{ADDRESS}:{PORT}"}, 200),
        ({"origin": f"http://{ADDRESS}:81"}, 403),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
    ],
)
async def test_pages_of_other_sites_are_told_nothing(headers: dict[str, str], status: int) -> None:
    async with paged() as it:
        assert (await (await it.viewer()).ask("/data", **headers)).status == status


@in_virtual_time
@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET /" + b"x" * 20000 + b" HTTP/1.1\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: 1.2.3.4\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
    ],
)
async def test_what_is_no_request_is_told_so_and_ends(request_: bytes, status: int) -> None:
    async with paged() as it:
        viewer = await it.viewer()
        viewer.http.send(_any_request())
        await viewer.stream.send_all(request_)
        assert (await viewer.answer()).status == status
        assert await viewer.ended()


def _any_request() -> h11.Request:
    """What the client's parser is told, as the test writes the request itself."""
    return h11.Request(method="GET", target="/", headers=[("host", "x")])


@in_virtual_time
async def test_a_body_is_not_read_and_the_answer_is_the_last() -> None:
    async with paged() as it:
        viewer = await it.viewer()
        viewer.http.send(_any_request())
        head = f"GET /data HTTP/1.1\r\nHost: {ADDRESS}\r\nContent-Length: 1000000\r\n\r\n"
        await viewer.stream.send_all(head.encode() + bytes(3000))
        assert (await viewer.answer()).status == 200
        assert await viewer.ended()


@in_virtual_time
async def test_requests_may_be_pipelined() -> None:
    async with paged() as it:
        viewer = await it.viewer()
        request = f"GET /data HTTP/1.1\r\nHost: {ADDRESS}\r\n\r\n".encode()
        await viewer.stream.send_all(request * 3)
        for _ in range(3):
            viewer.http.send(_any_request())
            viewer.http.send(h11.EndOfMessage())
            assert (await viewer.answer()).status == 200
            viewer.http.start_next_cycle()


@in_virtual_time
async def test_a_port_that_is_in_use_is_refused() -> None:
    async with paged() as it:
        with pytest.raises(OSError, check=lambda error: error.errno == errno.EADDRINUSE):
            await serve_page(it.both.server, 7)


@in_virtual_time
async def test_it_is_served_on_any_free_port() -> None:
    async with paged() as it, trio.open_nursery() as nursery:
        listeners = await nursery.start(serve_page, it.both.server, 0)
        port = listeners[0].socket.getsockname()[1]
        viewer = Viewer(await it.both.client.open_tcp_stream("server", port))
        data = await viewer.look()
        assert port in [each["port"] for each in data["listeners"] if each["own"]]
        nursery.cancel_scope.cancel()
