"""Connections by callbacks, in asyncio's words: no task for a connection, no switch for a request.

A :class:`Protocol` is called within the batch of packets that brought its data, and what it writes
leaves with that batch. Where a trio task is woken, runs and writes through a stream, this is a
function that is called::

    class Upper(tunstack.Protocol):
        def connection_made(self, transport: tunstack.Transport) -> None:
            self.transport = transport

        def data_received(self, data: bytes) -> None:
            self.transport.write(data.upper())

    await host.serve_protocol(Upper, 7)

It is sans-IO, over a :class:`~tunstack.stack.stack.Stack` alone: a host runs it under trio
(:mod:`tunstack.host.protocols`), and the simulator without (:mod:`tunstack.simulator.protocols`),
where whole applications are repeatable octet by octet.

    transport   `Protocol` and `Transport`
    server      accepts connections, and makes the protocol of each
    runner      calls those that a batch has woken, each once, in order
    timers      what `Transport.call_later` starts

What differs from asyncio:

- Callbacks are called in the host's tasks, one after another, never within one another but
  `pause_writing`, which `write` calls. They must not block: all connections of the host wait
  meanwhile. Of each class of protocols the first callback that takes 0.1 s is named in the log.
- What a callback writes is sent when it has returned, all together; with the FIN, if it has closed.
  A callback may write to other connections, and `Transport.write` may be called by trio tasks.
- A callback that raises aborts its own connection with a RST, and is reported to the logger
  ``"tunstack"``; `connection_lost` is called with what it raised.
- `Transport.call_later` is `loop.call_later` for one connection, and ends with it.
"""

from __future__ import annotations

from tunstack.protocol.runner import Runner
from tunstack.protocol.server import Connecting, Server
from tunstack.protocol.timers import TimerHandle
from tunstack.protocol.transport import Protocol, Transport

__all__ = ["Connecting", "Protocol", "Runner", "Server", "TimerHandle", "Transport"]
