"""A dialogue with both roles in one file: tunstack as the server, and as the client.

    python examples/conversation.py

The same two coroutines run twice: with the client on the kernel and the server on tunstack, and
then the other way round.
"""

import trio

import tunstack

SCRIPT = (
    ("server", "220 ready"),
    ("client", "HELO client"),
    ("server", "250 hello"),
    ("client", "QUIT"),
    ("server", "221 closing"),
)


async def play(role: str, stream: trio.SocketStream) -> None:
    """Send the lines of `role`, and receive those of the other."""
    async with stream:
        for speaker, line in SCRIPT:
            if speaker == role:
                await stream.send_all(line.encode())
            else:
                received = await stream.receive_some(len(line))
                print(f"  {speaker}: {received.decode()}")
        if role == "client":  # closes first, and enters TIME-WAIT
            await stream.send_eof()
        assert await stream.receive_some() == b""


async def main() -> None:
    async with tunstack.open_namespace() as ns, ns.open_host("198.51.100.2/24") as host:
        print("The server is tunstack's, the client the kernel's:")
        (listener,) = await host.open_tcp_listeners(80)
        client = ns.socket()
        async with trio.open_nursery() as nursery:
            await client.connect(("198.51.100.2", 80))
            nursery.start_soon(play, "client", trio.SocketStream(client))
            nursery.start_soon(play, "server", await listener.accept())

        print("The server is the kernel's, the client tunstack's:")
        server = ns.socket()
        await server.bind(("198.51.100.1", 80))
        server.listen()
        async with trio.open_nursery() as nursery, trio.SocketListener(server) as kernels:
            nursery.start_soon(play, "client", await host.open_tcp_stream("198.51.100.1", 80))
            nursery.start_soon(play, "server", await kernels.accept())

        waiting = [each for each in host.connections() if each.state == "TIME-WAIT"]
        print(f"tunstack's connections in TIME-WAIT: {len(waiting)}, the one it closed first.")


trio.run(main)
