"""httpx asks a server of the kernel's, from an address that this machine does not have.

python examples/with_httpx.py
"""

import httpx
import trio

import tunstack


async def answer(stream: trio.SocketStream) -> None:
    """Say who asks, after the head of the request."""
    request = b""
    while b"\r\n\r\n" not in request:
        request += await stream.receive_some()
    body = stream.socket.getpeername()[0].encode()
    await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


async def main() -> None:
    async with (
        tunstack.open_namespace() as ns,
        ns.open_host("198.51.100.2/24") as host,
        trio.open_nursery() as nursery,
    ):
        server = ns.socket()
        await server.bind(("198.51.100.1", 80))
        server.listen()
        nursery.start_soon(trio.serve_listeners, answer, [trio.SocketListener(server)])

        with host.socket_factory():
            async with httpx.AsyncClient() as client:
                response = await client.get("http://198.51.100.1/")
        print(f"{response.status_code}: you are {response.text}")
        nursery.cancel_scope.cancel()


trio.run(main)
