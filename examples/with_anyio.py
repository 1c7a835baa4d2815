"""anyio on an address that this machine does not have: a server and a client.

    python examples/with_anyio.py

Within the block of `socket_factory` anyio's own calls are on the host.
"""

import anyio
import trio
from anyio.abc import SocketStream

import tunstack


async def shout(stream: SocketStream) -> None:
    async for data in stream:
        await stream.send(data.upper())


async def main() -> None:
    async with (
        tunstack.open_namespace() as ns,
        ns.open_host("198.51.100.2/24") as host,
        anyio.create_task_group() as group,
    ):
        with host.socket_factory():
            listener = await anyio.create_tcp_listener(local_port=7)
            group.start_soon(listener.serve, shout)
            async with await anyio.connect_tcp("198.51.100.2", 7) as stream:
                await stream.send(b"to itself")
                print("host:", (await stream.receive()).decode())

        with ns.socket() as client:  # of the kernel
            await client.connect(("198.51.100.2", 7))
            await client.send(b"from the kernel")
            print("kernel:", (await client.recv(100)).decode())
        group.cancel_scope.cancel()


trio.run(main)
