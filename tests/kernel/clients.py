"""Clients of every kind, which know nothing of tunstack; and the small servers that they ask."""

from __future__ import annotations

import asyncio
import http.client
import socket
import urllib.request
from typing import TYPE_CHECKING, Final

import aiohttp
import httpx
import redis
import redis.asyncio
import requests
import trio
import urllib3

from tunstack.apps import echo
from tunstack.apps import http as web

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tunstack import Host

URL: Final = "http://peer.test/bytes/1000"
REDIS: Final = 6379
WAIT: Final = 20.0


class SocketOfOld(socket.socket):
    """Derived from `socket.socket` before there was any namespace."""


async def serve(nursery: trio.Nursery, host: Host) -> None:
    """What the clients ask."""
    await nursery.start(host.serve_tcp, web.handler, 80)
    await nursery.start(host.serve_tcp, echo.handler, 7)
    await nursery.start(host.serve_tcp, resp, REDIS)


async def resp(stream: trio.SocketStream) -> None:
    """A store that speaks RESP2, enough for SET and GET."""
    stored: dict[bytes, bytes] = {}
    buffer = b""

    async def line() -> bytes:
        nonlocal buffer
        while b"\r\n" not in buffer:
            received = await stream.receive_some()
            if not received:
                raise EOFError
            buffer += received
        found, _, buffer = buffer.partition(b"\r\n")
        return found

    try:
        while True:
            count = int((await line())[1:])
            words = []
            for _ in range(count):
                await line()
                words.append(await line())
            if words[0].upper() == b"SET":
                stored[words[1]] = words[2]
                await stream.send_all(b"+OK\r\n")
            elif words[0].upper() == b"GET":
                value = stored[words[1]]
                await stream.send_all(b"$%d\r\n%s\r\n" % (len(value), value))
            else:
                await stream.send_all(b"+OK\r\n")
    except EOFError:
        pass


def with_requests() -> int:
    with requests.Session() as session:
        return len(session.get(URL, timeout=WAIT).content)


def with_urllib3() -> int:
    with urllib3.PoolManager(timeout=WAIT) as pool:
        return len(pool.request("GET", URL).data)


def with_urllib() -> int:
    with urllib.request.urlopen(URL, timeout=WAIT) as response:
        return len(response.read())


def with_http_client() -> int:
    connection = http.client.HTTPConnection("peer.test", timeout=WAIT)
    try:
        connection.request("GET", "/bytes/1000")
        return len(connection.getresponse().read())
    finally:
        connection.close()


def with_httpx() -> int:
    with httpx.Client(timeout=WAIT) as client:
        return len(client.get(URL).content)


async def with_httpx_async() -> int:
    async with httpx.AsyncClient(timeout=WAIT) as client:
        return len((await client.get(URL)).content)


async def with_aiohttp() -> int:
    async with aiohttp.ClientSession() as session, session.get(URL) as response:
        return len(await response.read())


async def with_asyncio() -> int:
    reader, writer = await asyncio.open_connection("peer.test", 7)
    writer.write(bytes(1000))
    received = await reader.readexactly(1000)
    writer.close()
    await writer.wait_closed()
    return len(received)


async def with_asyncio_servers() -> int:
    """A server and its client, both in the namespace."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(bytes(1000))
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(answer, "198.51.100.1", 0) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        received = await reader.read(2000)
        writer.close()
        await writer.wait_closed()
        return len(received)


def with_redis() -> int:
    with redis.Redis("peer.test", REDIS, protocol=2, socket_timeout=WAIT) as client:
        client.set("name", bytes(1000))
        value = client.get("name")
        assert isinstance(value, bytes)
        return len(value)


async def with_redis_async() -> int:
    store = redis.asyncio.Redis(host="peer.test", port=REDIS, protocol=2, socket_timeout=WAIT)
    async with store as client:
        await client.set("name", bytes(1000))
        value = await client.get("name")
        assert isinstance(value, bytes)
        return len(value)


def with_create_connection() -> int:
    with socket.create_connection(("peer.test", 7), WAIT) as sock:
        sock.sendall(bytes(1000))
        return len(sock.recv(1000, socket.MSG_WAITALL))


def with_create_server() -> int:
    with (
        socket.create_server(("198.51.100.1", 0)) as server,
        socket.create_connection(server.getsockname(), WAIT) as client,
    ):
        accepted, _ = server.accept()
        with accepted:
            accepted.sendall(bytes(1000))
        return len(client.recv(2000, socket.MSG_WAITALL))


def with_a_class_of_old() -> int:
    with SocketOfOld(socket.AF_INET6, socket.SOCK_STREAM) as sock:
        assert isinstance(sock, socket.socket)
        sock.settimeout(WAIT)
        sock.connect(("2001:db8::2", 7))
        sock.sendall(bytes(1000))
        return len(sock.recv(1000, socket.MSG_WAITALL))


async def with_trio() -> int:
    async with await trio.open_tcp_stream("peer.test", 7) as stream:
        await stream.send_all(bytes(1000))
        received = 0
        while received < 1000:
            received += len(await stream.receive_some())
        return received


def in_asyncio(function: Callable[[], Awaitable[int]]) -> Callable[[], int]:
    async def main() -> int:
        return await function()

    return lambda: asyncio.run(main())


BLOCKING: Final[dict[str, Callable[[], int]]] = {
    "requests": with_requests,
    "urllib3": with_urllib3,
    "urllib": with_urllib,
    "http.client": with_http_client,
    "httpx": with_httpx,
    "httpx-asyncio": in_asyncio(with_httpx_async),
    "aiohttp": in_asyncio(with_aiohttp),
    "asyncio": in_asyncio(with_asyncio),
    "asyncio-servers": in_asyncio(with_asyncio_servers),
    "redis": with_redis,
    "redis-asyncio": in_asyncio(with_redis_async),
    "create_connection": with_create_connection,
    "create_server": with_create_server,
    "derived-class": with_a_class_of_old,
}
"""Functions for a thread, each of which returns 1000."""

ON_TRIO: Final[dict[str, Callable[[], Awaitable[int]]]] = {
    "trio": with_trio,
    "httpx-trio": with_httpx_async,
}
