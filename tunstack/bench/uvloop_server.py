"""HTTP by asyncio's Protocol on uvloop, over kernel sockets: what callbacks reach there."""

from __future__ import annotations

import asyncio
import json
import sys

import uvloop

from tunstack.bench.answering import Answers
from tunstack.bench.ports import HTTP
from tunstack.bench.usage import usage


class _AnswerProtocol(Answers, asyncio.Protocol):
    pass


class _Questions(asyncio.Protocol):
    """Standard input: the usage is printed for each line of it."""

    def __init__(self, ended: asyncio.Event) -> None:
        self._ended = ended

    def data_received(self, data: bytes) -> None:
        for _ in range(data.count(b"\n")):
            _report()

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended.set()


def _report() -> None:
    print(json.dumps(usage() | {"accepted": 0}), flush=True)


def serve(address: str) -> None:
    """Serve, and report usage as :mod:`tunstack.bench.server` does, until standard input ends."""

    async def main() -> None:
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        await loop.create_server(_AnswerProtocol, address, HTTP, backlog=65535)
        _report()
        await loop.connect_read_pipe(lambda: _Questions(ended), sys.stdin)
        await ended.wait()

    uvloop.run(main())
