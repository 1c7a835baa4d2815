"""TLS of our servers ends as the peer ends: with close_notify, or without."""

from __future__ import annotations

import ssl

import pytest
import trio
from trio.testing import memory_stream_pair

from tests.ladder.spoken import new_contexts
from tunstack.apps.tls import over_tls


async def answer(stream: trio.abc.Stream) -> None:
    while await stream.receive_some():
        await stream.send_all(b"answer")


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2])
async def test_no_alert_follows_an_end_of_file_without_close_notify(
    newest: ssl.TLSVersion, autojump_clock: trio.testing.MockClock
) -> None:
    """The peer has closed, as curl does, and the alert about it would meet a RST."""
    client_context, server_context = new_contexts()
    client_context.maximum_version = newest
    raw, far = memory_stream_pair()

    async def serve() -> None:
        async with far:
            await over_tls(server_context, answer)(far)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        client = trio.SSLStream(raw, client_context, server_hostname="peer.test")
        await client.send_all(b"question")
        assert await client.receive_some() == b"answer"
        await raw.send_eof()
        assert await raw.receive_some() == b""
