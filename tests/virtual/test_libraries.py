"""Libraries that know nothing of tunstack, between two hosts in virtual time."""

from __future__ import annotations

from functools import partial
from typing import Any

import httpx
import hypercorn.config
import hypercorn.trio
import pytest
import trio
import trio_websocket

import tunstack

in_virtual_time = pytest.mark.trio(run=tunstack.run_virtual)


async def application(scope: Any, receive: Any, send: Any) -> None:
    """An ASGI application: the path of what is asked for."""
    while scope["type"] == "lifespan":
        kind = (await receive())["type"]
        await send({"type": f"{kind}.complete"})
        if kind == "lifespan.shutdown":
            return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": scope["path"].encode()})


async def serve(*, task_status: trio.TaskStatus[Any]) -> None:
    config = hypercorn.config.Config()
    config.bind, config.errorlog = ["0.0.0.0:80"], None
    await hypercorn.trio.serve(application, config, task_status=task_status)


@in_virtual_time
async def test_httpx_asks_hypercorn() -> None:
    async with tunstack.open_network(link="delay=50ms") as net:
        client = await net.add_host("client", "198.51.100.1")  # As hypercorn, for IPv4 alone.
        await net.start(await net.add_host("server"), serve)
        with client.socket_factory():
            async with httpx.AsyncClient() as http:
                assert (await http.get("http://server/page")).text == "/page"
                assert trio.current_time() == pytest.approx(0.2)


@in_virtual_time
async def test_a_timeout_of_httpx_takes_no_time() -> None:
    async with tunstack.open_network() as net:
        client = await net.add_host("client")
        await net.start(await net.add_host("server"), serve)
        with client.socket_factory():
            async with httpx.AsyncClient(timeout=180) as http:
                await http.get("http://server/")
                net.partition("client", "server")
                with pytest.raises(httpx.ReadTimeout):
                    await http.get("http://server/")
    assert trio.current_time() >= 180


async def shout(request: trio_websocket.WebSocketRequest) -> None:
    async with await request.accept() as here:
        await here.send_message((await here.get_message()).upper())


async def call(host: str) -> str | bytes:
    async with trio_websocket.open_websocket(host, 80, "/", use_ssl=False) as there:
        await there.send_message("hello")
        return await there.get_message()


@in_virtual_time
async def test_trio_websocket_calls_itself() -> None:
    serve = partial(trio_websocket.serve_websocket, ssl_context=None)
    async with tunstack.open_network(link="delay=50ms,loss=10%") as net:
        client = await net.add_host("client")
        await net.start(await net.add_host("server"), serve, shout, None, 80)
        with client.socket_factory():
            assert await call("server") == "HELLO"
