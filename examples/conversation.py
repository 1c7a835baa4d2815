"""A scripted conversation, with both roles in one file.

    python examples/conversation.py

The same two coroutines play it twice: with the guest on the kernel and the host of the inn on
tunstack, and then with the parts exchanged. Neither can tell the difference.
"""

import trio

import tunstack

SCRIPT = (
    ("guest", "Is there a room?"),
    ("inn", "For one night or for two?"),
    ("guest", "For 2 MSL."),
    ("inn", "Then you must be waiting for something."),
)


async def play(role: str, stream: trio.SocketStream) -> None:
    """Say the lines of `role`, and wait for those of the other."""
    async with stream:
        for speaker, line in SCRIPT:
            if speaker == role:
                await stream.send_all(line.encode())
            else:
                heard = await stream.receive_some(len(line))
                print(f"  {speaker:5} {heard.decode()}")
        if role == "guest":  # leaves first, and waits in TIME-WAIT
            await stream.send_eof()
        assert await stream.receive_some() == b""


async def main() -> None:
    async with tunstack.open_namespace() as ns, ns.open_host("198.51.100.2/24") as host:
        print("The inn is tunstack's, the guest the kernel's:")
        (listener,) = await host.open_tcp_listeners(80)
        client = ns.socket()
        async with trio.open_nursery() as nursery:
            await client.connect(("198.51.100.2", 80))
            nursery.start_soon(play, "guest", trio.SocketStream(client))
            nursery.start_soon(play, "inn", await listener.accept())

        print("The inn is the kernel's, the guest tunstack's:")
        server = ns.socket()
        await server.bind(("198.51.100.1", 80))
        server.listen()
        async with trio.open_nursery() as nursery, trio.SocketListener(server) as listener:
            nursery.start_soon(play, "guest", await host.open_tcp_stream("198.51.100.1", 80))
            nursery.start_soon(play, "inn", await listener.accept())

        waiting = [each for each in host.connections() if each.state == "TIME-WAIT"]
        print(f"Connections of ours in TIME-WAIT: {len(waiting)}, where we were the guest.")


trio.run(main)
