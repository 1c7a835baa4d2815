"""hypercorn serves a Starlette application over TLS, as HTTP/2, to curl, which verifies it.

python examples/with_starlette.py
"""

import os

import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

import tunstack
from tunstack.apps import asgi_handler


async def hello(request: Request) -> JSONResponse:
    return JSONResponse({"over": request.url.scheme, "http": request.scope["http_version"]})


async def main() -> None:
    application = Starlette(routes=[Route("/hello", hello)])
    with tunstack.Authority() as authority:
        environment = {**os.environ, **authority.environment()}
        async with (
            tunstack.open_namespace() as ns,
            ns.open_host("198.51.100.2/24") as host,
            trio.open_nursery() as nursery,
        ):
            handler = asgi_handler(application, authority.issue(["198.51.100.2"]))
            await nursery.start(host.serve_tcp, handler, 443)
            curl = ["curl", "-sS", "https://198.51.100.2/hello"]
            result = await ns.run_process(curl, capture_stdout=True, env=environment)
            print("curl got:", result.stdout.decode())
            nursery.cancel_scope.cancel()


trio.run(main)
