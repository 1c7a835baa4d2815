"""The app https and its faulty sisters, over memory streams; a client that verifies."""

from __future__ import annotations

import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from tests.apps import http2
from tests.apps.serving import read_to_end
from tunstack import Authority
from tunstack.apps import APPS
from tunstack.apps.tls import over_tls

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tunstack.apps import Handler

TLS_APPS = sorted(name for name, app in APPS.items() if app.certificate is not None)
GET = b"GET %s HTTP/1.1\r\nHost: peer.test\r\nConnection: close\r\n\r\n"


@pytest.fixture(scope="module")
def authority() -> Iterator[Authority]:
    with Authority() as authority:
        yield authority


def handler_of(authority: Authority, name: str) -> Handler:
    app = APPS[name]
    assert app.certificate is not None
    return app.make_handler(authority.identity(["peer.test"], app.certificate).context())


@asynccontextmanager
async def raw(authority: Authority, name: str = "https") -> AsyncIterator[Any]:
    """A client's stream to a handler, without TLS; the handler has 20 seconds."""
    client, server = trio.testing.memory_stream_pair()
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(handler_of(authority, name), server)
            yield client


@asynccontextmanager
async def connected(
    authority: Authority, name: str = "https", alpn: tuple[str, ...] = (), **options: Any
) -> AsyncIterator[trio.SSLStream[Any]]:
    """A client that verifies."""
    context = ssl.create_default_context(cafile=authority.certificate)
    context.set_alpn_protocols(list(alpn))
    for option, value in options.items():
        setattr(context, option, value)
    async with raw(authority, name) as stream:
        yield trio.SSLStream(stream, context, server_hostname="peer.test")


async def test_the_page_comes_over_http1(authority: Authority) -> None:
    async with connected(authority, alpn=("http/1.1",)) as client:
        await client.send_all(GET % b"/")
        answer = await read_to_end(client)  # An error without close_notify.
        assert client.selected_alpn_protocol() == "http/1.1"
        await client.aclose()
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"<h1>It works</h1>" in answer


async def test_the_page_comes_over_http2(authority: Authority) -> None:
    async with connected(authority, alpn=("h2", "http/1.1")) as client:
        await client.send_all(http2.HELLO + http2.request(1))
        async for each in http2.Frames(client):
            if each.kind == http2.DATA:
                break
        assert client.selected_alpn_protocol() == "h2"
        await client.aclose()
    assert b"<h1>It works</h1>" in each.payload


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_both_versions_of_tls_are_spoken(
    authority: Authority, version: ssl.TLSVersion
) -> None:
    async with connected(authority, maximum_version=version, minimum_version=version) as client:
        await client.send_all(GET % b"/bytes/5")
        assert len((await read_to_end(client)).partition(b"\r\n\r\n")[2]) == 5
        assert client.version() == version.name.replace("_", ".")
        await client.aclose()


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("https-expired", "certificate has expired"),
        ("https-wrong-name", "Hostname mismatch"),
        ("https-self-signed", "self-signed certificate"),
    ],
)
async def test_a_faulty_certificate_is_not_verified(
    authority: Authority, name: str, says: str
) -> None:
    async with connected(authority, name) as client:
        with pytest.raises(trio.BrokenResourceError) as caught:
            await client.do_handshake()
        await client.aclose()
    assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)
    assert says.lower() in str(caught.value.__cause__).lower().replace("self signed", "self-signed")


async def test_the_server_of_a_faulty_certificate_is_sound_otherwise(authority: Authority) -> None:
    async with connected(
        authority, "https-expired", check_hostname=False, verify_mode=ssl.CERT_NONE
    ) as client:
        await client.send_all(GET % b"/")
        assert b"<h1>It works</h1>" in await read_to_end(client)
        await client.aclose()


async def test_a_handshake_stalls(
    authority: Authority, autojump_clock: trio.testing.MockClock
) -> None:
    async with connected(authority, "https-stalled") as client:
        with trio.move_on_after(15) as scope:
            await client.do_handshake()
        assert scope.cancelled_caught
        await client.aclose()


async def test_a_record_is_damaged_after_a_sound_handshake(authority: Authority) -> None:
    async with connected(authority, "https-damaged") as client:
        await client.do_handshake()
        await client.send_all(GET % b"/")
        with pytest.raises(trio.BrokenResourceError) as caught:
            await client.receive_some()
        await client.aclose()
    assert "BAD_RECORD_MAC" in str(caught.value.__cause__).upper().replace(" ", "_")


async def test_an_answer_ends_without_close_notify(authority: Authority) -> None:
    async with connected(authority, "https-unclosed") as client:
        await client.send_all(GET % b"/")
        answer = b""
        with pytest.raises(trio.BrokenResourceError) as caught:  # noqa: PT012
            while True:
                answer += await client.receive_some()
        await client.aclose()
    assert answer.endswith(b"This may be all, or not.\n")
    assert isinstance(caught.value.__cause__, ssl.SSLEOFError)


async def test_a_version_that_is_too_old_is_told_so(authority: Authority) -> None:
    """The alert is sent, and it is what the client hears before the end."""
    hello = (
        bytes.fromhex("160301002f0100002b0301") + bytes(32) + bytes.fromhex("0000040035002f0100")
    )
    async with raw(authority) as client:
        await client.send_all(hello)
        answer = await read_to_end(client)
        await client.aclose()
    assert answer[:1] == b"\x15"
    assert answer[-1] == 70  # protocol_version


MALFORMED = {
    "nothing": b"",
    "one octet": b"\x16",
    "half a record": bytes.fromhex("160301020001000200"),
    "a request of HTTP": GET % b"/",
    "zeros": bytes(1000),
    "ones": b"\xff" * 1000,
    "an oversized record": bytes.fromhex("160301ffff010000") + bytes(70_000),
    "an oversized hello": bytes.fromhex("1603014000") + b"\x01\xff\xff\xff" + bytes(0x3FFC),
    "a hello of one octet a record": b"\x16\x03\x01\x00\x01\x01" * 3000,
    "empty records": b"\x16\x03\x01\x00\x00" * 3000,
    "lengths that lie": bytes.fromhex("16030100310100002d0303") + b"\xff" * 45,
    "an alert": bytes.fromhex("15030100020228"),
    "application data": bytes.fromhex("1703030010") + bytes(16),
    "change cipher spec": bytes.fromhex("140303000101") * 500,
}


@pytest.mark.parametrize("name", MALFORMED)
async def test_a_malformed_handshake_ends_its_connection(
    name: str, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    async with raw(authority) as client:
        await client.send_all(MALFORMED[name])
        await client.send_eof()
        answer = await read_to_end(client)
        await client.aclose()
    assert answer[:1] in (b"", b"\x15")
    assert caplog.text == ""


async def test_a_damaged_record_of_the_clients_is_answered_with_an_alert(
    authority: Authority,
) -> None:
    async with connected(authority) as client:
        await client.send_all(GET % b"/bytes/1")
        await client.transport_stream.send_all(bytes.fromhex("1703030020") + bytes(32))
        with pytest.raises(trio.BrokenResourceError) as caught:  # noqa: PT012
            while await client.receive_some():
                pass
        await client.aclose()
    assert "alert bad record mac" in str(caught.value.__cause__).lower().replace("_", " ")


async def test_a_handshake_that_the_client_does_not_finish_is_given_up(
    authority: Authority, autojump_clock: trio.testing.MockClock
) -> None:
    async with raw(authority) as client:
        await client.send_all(MALFORMED["half a record"])
        await read_to_end(client)
        assert 10 <= trio.current_time() < 15
        await client.aclose()


@pytest.mark.parametrize("name", TLS_APPS)
async def test_a_lost_peer_ends_a_handler_without_an_error(name: str, authority: Authority) -> None:
    async with raw(authority, name) as client:
        await client.aclose()


@pytest.mark.parametrize("name", ["https", "https-expired", "https-unclosed"])
async def test_a_peer_lost_after_the_handshake_ends_a_handler_without_an_error(
    name: str, authority: Authority
) -> None:
    async with connected(
        authority, name, check_hostname=False, verify_mode=ssl.CERT_NONE
    ) as client:
        await client.send_all(GET % b"/bytes/10000000")
        await client.receive_some(1)
        await client.transport_stream.aclose()


async def test_the_close_waits_for_no_one_for_long(
    authority: Authority, autojump_clock: trio.testing.MockClock
) -> None:
    """The client neither ends its half nor closes."""
    async with raw(authority) as client:
        context = ssl.create_default_context(cafile=authority.certificate)
        tls = trio.SSLStream(client, context, server_hostname="peer.test")
        await tls.send_all(GET % b"/")
        await read_to_end(tls)
    assert trio.current_time() < 10


async def test_any_handler_runs_over_tls(authority: Authority) -> None:
    async def echo(stream: trio.SSLStream[trio.abc.Stream]) -> None:
        async for data in stream:
            await stream.send_all(data)

    context = authority.issue(["peer.test"])
    client, server = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(over_tls(context, echo), server)
        tls = trio.SSLStream(
            client,
            ssl.create_default_context(cafile=authority.certificate),
            server_hostname="peer.test",
        )
        await tls.send_all(b"again")
        assert await tls.receive_some() == b"again"
        await tls.aclose()
