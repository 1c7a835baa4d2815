"""A quart-trio application on an address that this machine does not have.

python examples/with_quart_trio.py
"""

from functools import partial

import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from quart_trio import QuartTrio

import tunstack

app = QuartTrio(__name__)


@app.get("/greet/<name>")
async def greet(name: str) -> dict[str, str]:
    return {"hello": name}


async def main() -> None:
    config, end = Config(), trio.Event()
    config.bind, config.errorlog = ["198.51.100.2:80"], None
    async with (
        tunstack.open_namespace() as ns,
        ns.open_host("198.51.100.2/24") as host,
        trio.open_nursery() as nursery,
    ):
        with host.socket_factory():
            await nursery.start(partial(serve, app, config, shutdown_trigger=end.wait))
        command = ["curl", "-sS", "198.51.100.2/greet/kernel"]
        result = await ns.run_process(command, capture_stdout=True)
        print("curl got:", result.stdout.decode().strip())
        end.set()


trio.run(main)
