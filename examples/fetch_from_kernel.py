"""A client on our stack that fetches from a server on the kernel's.

    python examples/fetch_from_kernel.py

`host.open_tcp_stream` is to a host what `trio.open_tcp_stream` is to the kernel; the stream that it
returns is trio's own.
"""

import hashlib
import random

import trio

import tunstack

DATA = random.Random(1).randbytes(5_000_000)


async def send_data(stream: trio.SocketStream) -> None:
    await stream.send_all(DATA)


async def main() -> None:
    async with (
        tunstack.open_namespace() as ns,
        ns.open_host("198.51.100.2/24") as host,
        trio.open_nursery() as nursery,
    ):
        server = ns.socket()  # of the kernel's
        await server.bind(("198.51.100.1", 8080))
        server.listen()
        nursery.start_soon(trio.serve_listeners, send_data, [trio.SocketListener(server)])

        digest, size = hashlib.sha256(), 0
        async with await host.open_tcp_stream("198.51.100.1", 8080) as stream:
            async for data in stream:
                digest.update(data)
                size += len(data)
            (connection,) = host.connections()

        print(f"received {size:,} bytes, state {connection.state}")
        print("they are what was sent:", digest.digest() == hashlib.sha256(DATA).digest())
        nursery.cancel_scope.cancel()


trio.run(main)
