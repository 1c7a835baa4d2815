"""A half-close: the server finishes sending long after the client's FIN.

    python examples/half_close.py

Each direction of a TCP connection is closed separately. The client here sends FIN after its
request, and goes on receiving; the server is in CLOSE-WAIT meanwhile (RFC 9293 section 3.6).
"""

import trio

import tunstack

LINES = ("first line", "second line")


async def main() -> None:
    async with (
        tunstack.open_namespace() as ns,
        ns.open_host("198.51.100.2/24") as host,
        trio.open_nursery() as nursery,
    ):

        async def respond(stream: trio.SocketStream) -> None:
            async for data in stream:
                print("server: received", data.decode())
            for line in LINES:
                await trio.sleep(0.1)
                (connection,) = host.connections()
                print(f"server: in {connection.state}, sending")
                await stream.send_all(f"{line}\n".encode())

        await nursery.start(host.serve_tcp, respond, 7000)

        client = ns.socket()
        await client.connect(("198.51.100.2", 7000))
        async with trio.SocketStream(client) as stream:
            await stream.send_all(b"request")
            print("client: sending FIN")
            await stream.send_eof()
            async for data in stream:
                print("client: received", data.decode().strip())
        print("client: received end of file")
        nursery.cancel_scope.cancel()


trio.run(main)
