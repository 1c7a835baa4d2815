"""An echo server on an address that this machine does not have.

    python examples/echo_server.py

The server is this process: it answers for 198.51.100.2, packet by packet. The client is the kernel,
which sees a remote host there.
"""

import trio

import tunstack


async def echo(stream: trio.SocketStream) -> None:
    async for data in stream:
        await stream.send_all(data)


async def main() -> None:
    async with (
        tunstack.open_namespace() as ns,  # a private network of the kernel's
        ns.open_host("198.51.100.2/24") as host,  # the other host in it: this process
        trio.open_nursery() as nursery,
    ):
        await nursery.start(host.serve_tcp, echo, 7)

        with ns.socket() as client:  # an ordinary socket, of the kernel in that network
            await client.connect(("198.51.100.2", 7))
            for words in (b"Hello?", b"Is this a remote host?", b"Yes, you would say that."):
                await client.send(words)
                answer = await client.recv(1000)
                print(f"kernel: {words.decode():26} tunstack: {answer.decode()}")

        nursery.cancel_scope.cancel()  # stop serving


trio.run(main)
