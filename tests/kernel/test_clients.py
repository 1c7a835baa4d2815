"""Clients of every kind in this very process, whose sockets are in a namespace."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import requests
import trio

import tunstack
from tests.kernel.clients import BLOCKING, ON_TRIO, serve
from tests.link.in_a_child import run_as_nobody
from tunstack.apps import http

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tunstack import Host, Namespace

pytestmark = pytest.mark.kernel


@pytest.fixture
async def ns() -> AsyncIterator[Namespace]:
    async with tunstack.open_namespace(names={}) as ns:
        yield ns


@pytest.fixture
async def host(ns: Namespace) -> AsyncIterator[Host]:
    async with ns.open_host() as host, trio.open_nursery() as servers:
        await serve(servers, host)
        yield host
        servers.cancel_scope.cancel()


@pytest.mark.parametrize("client", BLOCKING)
async def test_a_client_in_a_thread(ns: Namespace, host: Host, client: str) -> None:
    with ns.sockets():
        assert await trio.to_thread.run_sync(BLOCKING[client]) == 1000


@pytest.mark.parametrize("client", ON_TRIO)
async def test_a_client_in_the_same_trio_run(ns: Namespace, host: Host, client: str) -> None:
    with ns.sockets():
        assert await ON_TRIO[client]() == 1000


async def test_all_of_them_at_once(ns: Namespace, host: Host) -> None:
    results: list[int] = []

    async def in_thread(client: str) -> None:
        results.append(await trio.to_thread.run_sync(BLOCKING[client]))

    with ns.sockets():
        async with trio.open_nursery() as clients:
            for client in [*BLOCKING] * 3:
                clients.start_soon(in_thread, client)
    assert results == [1000] * 3 * len(BLOCKING)


async def test_https(ns: Namespace, host: Host) -> None:
    with tunstack.Authority() as authority:
        context = authority.issue(["peer.test"], alpn=["http/1.1"])

        async def over_tls(stream: trio.SocketStream) -> None:
            await http.handler(trio.SSLStream(stream, context, server_side=True))

        def ask() -> tuple[int, int]:
            page = requests.get(
                "https://peer.test/bytes/1000", verify=str(authority.bundle), timeout=20
            )
            return page.status_code, len(page.content)

        async with trio.open_nursery() as servers:
            await servers.start(host.serve_tcp, over_tls, 443)
            with ns.sockets():
                assert await trio.to_thread.run_sync(ask) == (200, 1000)
            servers.cancel_scope.cancel()


def test_every_client_of_a_user_without_privileges() -> None:
    printed = run_as_nobody("""
        import json, os, trio, tunstack
        from tests.kernel.clients import BLOCKING, ON_TRIO, serve

        async def main():
            results = {}
            async with (
                tunstack.open_namespace(names={}) as ns,
                ns.open_host() as host,
                trio.open_nursery() as nursery,
            ):
                await serve(nursery, host)
                with ns.sockets():
                    for name, client in BLOCKING.items():
                        results[name] = await trio.to_thread.run_sync(client)
                    for name, client in ON_TRIO.items():
                        results[name] = await client()
                nursery.cancel_scope.cancel()
            print(json.dumps(results))

        assert os.geteuid() != 0
        trio.run(main)
    """)
    assert json.loads(printed) == dict.fromkeys([*BLOCKING, *ON_TRIO], 1000)
