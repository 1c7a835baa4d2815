"""A half-close: the server finishes sending long after the client's FIN.

    python examples/half_close.py

Each direction of a TCP connection ends on its own. The client here says "no more from me" at once,
and goes on listening; the server is in CLOSE-WAIT all the while (RFC 9293 section 3.6).
"""

import trio

import tunstack

VERSES = ("There was a young FIN who said: Though", "I end, you have further to go,")


async def main() -> None:
    async with (
        tunstack.open_namespace() as ns,
        ns.open_host("198.51.100.2/24") as host,
        trio.open_nursery() as nursery,
    ):

        async def recite(stream: trio.SocketStream) -> None:
            async for data in stream:
                print("server: heard", data.decode())
            for verse in VERSES:
                await trio.sleep(0.1)
                (connection,) = host.connections()
                print(f"server: in {connection.state}, sending")
                await stream.send_all(f"{verse}\n".encode())

        await nursery.start(host.serve_tcp, recite, 7000)

        client = ns.socket()
        await client.connect(("198.51.100.2", 7000))
        async with trio.SocketStream(client) as stream:
            await stream.send_all(b"Recite!")
            print("client: no more from me")
            await stream.send_eof()
            async for data in stream:
                print("client: heard", data.decode().strip())
        print("client: heard the end")
        nursery.cancel_scope.cancel()


trio.run(main)
