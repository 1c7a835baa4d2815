"""trio-websocket between an address that this machine does not have and the kernel.

python examples/with_trio_websocket.py
"""

from functools import partial

import trio
import trio_websocket

import tunstack


async def shout(request: trio_websocket.WebSocketRequest) -> None:
    async with await request.accept() as here:
        await here.send_message((await here.get_message()).upper())


async def main() -> None:
    async with (
        tunstack.open_namespace() as ns,
        ns.open_host("198.51.100.2/24") as host,
        trio.open_nursery() as nursery,
    ):
        with host.socket_factory():  # the server is the host's
            serve = partial(trio_websocket.serve_websocket, ssl_context=None)
            await nursery.start(serve, shout, "198.51.100.2", 80)

        client = ns.socket()
        await client.connect(("198.51.100.2", 80))
        stream = trio.SocketStream(client)
        async with await trio_websocket.wrap_client_stream(nursery, stream, "host", "/") as there:
            await there.send_message("hello from the kernel")
            print("the host:", await there.get_message())
        nursery.cancel_scope.cancel()


trio.run(main)
