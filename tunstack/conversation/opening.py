"""Open conversations on a port of a host, or from it."""

from __future__ import annotations

import math
from contextlib import ExitStack, asynccontextmanager
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, final

from tunstack.conversation.conversation import WITHIN, Conversation
from tunstack.conversation.failure import ConversationError, failure_text
from tunstack.conversation.port import Port
from tunstack.host.host import loop_of
from tunstack.host.opening import family_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from typing import Self

    from tunstack.conversation.exchange import End
    from tunstack.host.host import Host
    from tunstack.path.rules.rule import Rule
    from tunstack.path.rules.selection import Selection


@final
class Conversations:
    """The conversations of a port, one for each SYN that comes from another client.

    :func:`tunstack.open_conversations` opens it. An asynchronous iterator: it waits for the next
    client for ever.

    Attributes:
        port: The port's number.
    """

    def __init__(self, port: Port, number: int) -> None:
        self.port = number
        self._port = port

    def __repr__(self) -> str:
        return f"<tunstack.Conversations on port {self.port}>"

    async def accept(self, *, within: float = WITHIN) -> Conversation:
        """Return the conversation with the next client; its SYN is to be expected.

        Args:
            within: Seconds to wait for the SYN.

        Raises:
            ConversationError: None came.
            trio.ClosedResourceError: The block has ended.
        """
        found = await self._port.take(within)
        if found is None:
            expected = f"a SYN on port {self.port} within {within:g} s"
            headline = f"expected {expected}, but none came"
            raise ConversationError(
                failure_text(headline, [], "", self._port.remarks()), expected=expected
            )
        return found

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Conversation:
        return await self.accept(within=math.inf)


@asynccontextmanager
async def open_conversation(
    host: Host,
    port: int | None = None,
    *,
    remote: tuple[str, int] | None = None,
    local_address: str | None = None,
    start: int | None = None,
    reset: bool = True,
    skip_retransmissions: bool = False,
) -> AsyncIterator[Conversation]:
    """Speak TCP by hand: with the first client of a port, or with a server.

    ::

        async with tunstack.open_conversation(host, 80) as talk:
            await talk.expect("SYN")
            talk.send("SYN,ACK", mss=1460)
            await talk.expect("ACK", seq=1, ack=1)

    Within the block no TCP of the host answers on the port. The conversation is with the client
    whose SYN comes first; those of others wait, unanswered: :func:`open_conversations` gives one
    for each. With `remote` the script is the client: it sends the first SYN, and the host's other
    connections and listeners are not concerned.

    When the block ends, segments that have come and were not read are not looked at, and the other
    side is reset: a task that waits for the end of its connection is to be outside of the block.

    Args:
        host: The host.
        port: Of the host. 0 for any that is free, which is the default with `remote`.
        remote: Address and port of a server.
        local_address: Which of the host's addresses; by default all, or with `remote` that which
            a connection to it would have.
        start: The sequence number of our SYN, on the wire; random by default.
        reset: Whether the other side is reset when the block ends, if its side of the connection
            is still open then.
        skip_retransmissions: Whether to skip segments that bring nothing but what was read before,
            as they come when a busy machine is slow to answer. The ladder shows them.

    Raises:
        OSError: EADDRINUSE, EADDRNOTAVAIL, EAFNOSUPPORT; ENETDOWN, the device is gone.
        ValueError: Neither a port nor a server is given; what is no address or no port.
    """
    if remote is not None:
        line = _new_port(host, start, reset, skip_retransmissions)
        async with _with_server(host, line, port or 0, remote, local_address) as talk:
            yield talk
    elif port is not None:
        line = _new_port(host, start, reset, skip_retransmissions)
        talk = line.new()  # Before the rule is there: a SYN may come at once.
        async with _on_port(host, line, port, local_address):
            yield talk
    else:
        raise ValueError("a conversation needs a port to answer on, or remote=(address, port)")


@asynccontextmanager
async def open_conversations(
    host: Host,
    port: int,
    *,
    local_address: str | None = None,
    start: int | None = None,
    reset: bool = True,
    skip_retransmissions: bool = False,
) -> AsyncIterator[Conversations]:
    """Speak TCP by hand with every client of a port, with several at once.

    ::

        async with (
            tunstack.open_conversations(host, 80) as clients,
            trio.open_nursery() as nursery,
        ):
            async for talk in clients:
                nursery.start_soon(script, talk)

    Args:
        host: The host.
        port: 0 for any that is free.
        local_address: As of :func:`open_conversation`, and so are the others.
        start: Likewise.
        reset: Likewise, of all of them.
        skip_retransmissions: Likewise.

    Raises:
        OSError: As :func:`open_conversation` does.
        ValueError: What is no address or no port.
    """
    line = _new_port(host, start, reset, skip_retransmissions)
    async with _on_port(host, line, port, local_address) as number:
        yield Conversations(line, number)


def _new_port(host: Host, start: int | None, reset: bool, skip_retransmissions: bool) -> Port:
    return Port(
        start=start,
        reset=reset,
        skip_retransmissions=skip_retransmissions,
        random=lambda: loop_of(host).rng.getrandbits(32),
        mtu=host.mtu,
        transmit=lambda packet: host.rules.inject(packet, "out"),
    )


@asynccontextmanager
async def _on_port(
    host: Host, line: Port, port: int, local_address: str | None
) -> AsyncIterator[int]:
    """A port that is taken from the host; yields its number.

    Listeners keep it for us, and get nothing: the rule is there before they are.
    """
    if local_address is not None:
        family_of(local_address)

    def taken(number: int) -> Rule:
        selection: Selection = {"direction": "in", "protocol": "tcp", "local_port": number}
        if local_address is not None:
            selection["local"] = local_address
        return host.rules.call(line.handle, **selection)

    with ExitStack() as stack:
        if port:
            stack.enter_context(taken(port))
        listeners = await host.open_tcp_listeners(port, host=local_address)
        for listener in listeners:
            stack.callback(listener.socket.close)
        number = listeners[0].socket.getsockname()[1]
        if not port:
            stack.enter_context(taken(number))
        stack.callback(line.end)
        yield number


@asynccontextmanager
async def _with_server(
    host: Host, line: Port, port: int, remote: tuple[str, int], local_address: str | None
) -> AsyncIterator[Conversation]:
    """A conversation with a server, from a port that is bound for us."""
    server, server_port = _checked(remote, local_address)
    with host.socket(family_of(server)) as sock:
        if local_address is None:
            source = loop_of(host).stack.source_for(ip_address(server).packed)
            local_address = str(ip_address(source))
        await sock.bind((local_address, port))
        local: End = str(ip_address(local_address)), sock.getsockname()[1]
        talk = line.new((local, (server, server_port)))
        with host.rules.call(
            line.handle,
            direction="in",
            protocol="tcp",
            local=local[0],
            local_port=local[1],
            remote=server,
            remote_port=server_port,
        ):
            try:
                yield talk
            finally:
                line.end()


def _checked(remote: Any, local_address: str | None) -> tuple[str, int]:
    """The address and port of a server.

    Raises:
        ValueError: It is none, or its family is another than that of our address.
    """
    if not isinstance(remote, tuple) or len(remote) != 2:
        raise ValueError(f"remote must be (address, port), not {remote!r}")
    address, port = remote
    if local_address is not None and family_of(local_address) != family_of(address):
        raise ValueError(f"{local_address} and {address} are of two families")
    return str(ip_address(address)), port
