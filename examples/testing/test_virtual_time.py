"""A client that is cut off for a minute gets its page: in virtual time, without a kernel."""

from contextlib import suppress

import httpx
import pytest
import trio

import tunstack


async def answer(stream: trio.SocketStream) -> None:
    await stream.receive_some()
    await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")


async def fetch(url: str, pages: list[str]) -> None:
    """The program to test: it tries until it has the page."""
    async with httpx.AsyncClient(timeout=10) as client:
        while not pages:
            with suppress(httpx.TransportError):
                pages.append((await client.get(url)).text)


@pytest.mark.parametrize("seed", range(5))
def test_the_page_comes_once_the_server_can_be_reached(seed: int) -> None:
    async def main() -> None:
        pages: list[str] = []
        async with tunstack.open_network(link="delay=20ms,loss=5%") as net:
            client, server = await net.add_host("client"), await net.add_host("server")
            await net.start(server, trio.serve_tcp, answer, 80)
            net.partition("client", "server")
            net.start_soon(client, fetch, "http://server/", pages)
            await trio.sleep(60)
            net.repair()
            await trio.sleep(20)
            assert pages == ["hello"], net.ss() + net.ladder()

    tunstack.run_virtual(main, seed=seed)
