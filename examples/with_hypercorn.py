"""hypercorn serves an ASGI application on an address that this machine does not have.

python examples/with_hypercorn.py
"""

from functools import partial
from typing import Any

import trio
from hypercorn.config import Config
from hypercorn.trio import serve

import tunstack


async def application(scope: Any, receive: Any, send: Any) -> None:
    while scope["type"] == "lifespan":
        kind = (await receive())["type"]
        await send({"type": f"{kind}.complete"})
    body = f"{scope['path']} for {scope['client'][0]}"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body.encode()})


async def main() -> None:
    config, end = Config(), trio.Event()
    config.bind, config.errorlog = ["198.51.100.2:80"], None
    async with (
        tunstack.open_namespace() as ns,
        ns.open_host("198.51.100.2/24") as host,
        trio.open_nursery() as nursery,
    ):
        with host.socket_factory():
            await nursery.start(partial(serve, application, config, shutdown_trigger=end.wait))
        result = await ns.run_process(["curl", "-sS", "198.51.100.2/page"], capture_stdout=True)
        print("curl got:", result.stdout.decode())
        end.set()


trio.run(main)
