"""A web server on an address that this machine does not have, and curl.

    python examples/http_server.py

HTTP is written out here to show how little stands between a page and its packets. The `http` app of
`tunstack serve http` is a complete server.
"""

import trio

import tunstack

PAGE = b"<h1>Every packet of this page was made in Python.</h1>\n"


async def serve_page(stream: trio.SocketStream) -> None:
    request = b""
    while b"\r\n\r\n" not in request:
        data = await stream.receive_some()
        if not data:
            return  # closed without a request
        request += data
    print("asked for:", request.split(b"\r\n")[0].decode())
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(PAGE)}\r\nConnection: close\r\n\r\n"
    await stream.send_all(head.encode() + PAGE)
    await stream.send_eof()


async def main() -> None:
    async with (
        tunstack.open_namespace() as ns,
        ns.open_host("198.51.100.2/24") as host,
        trio.open_nursery() as nursery,
    ):
        await nursery.start(host.serve_tcp, serve_page, 80)

        command = ["curl", "--silent", "--show-error", "http://198.51.100.2/hello"]
        result = await ns.run_process(command, capture_stdout=True)
        print("curl got:", result.stdout.decode().strip())

        nursery.cancel_scope.cancel()


trio.run(main)
