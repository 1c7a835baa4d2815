"""An echo over TLS: trio.SSLStream at both ends, one of them the kernel's.

python examples/tls_echo.py
"""

import ssl

import trio

import tunstack


async def echo(stream: trio.SSLStream[trio.SocketStream]) -> None:
    async for data in stream:
        await stream.send_all(data)


async def main() -> None:
    with tunstack.Authority() as authority:
        certified = authority.issue(["peer.test"])
        trusting = ssl.create_default_context(cafile=authority.certificate)
        async with (
            tunstack.open_namespace() as ns,
            ns.open_host("198.51.100.2/24") as host,
            trio.open_nursery() as nursery,
        ):
            (listener,) = await host.open_tcp_listeners(7000)
            listeners = [trio.SSLListener(listener, certified)]
            nursery.start_soon(trio.serve_listeners, echo, listeners)
            client = ns.socket()
            await client.connect(("198.51.100.2", 7000))
            plain = trio.SocketStream(client)
            stream = trio.SSLStream(plain, trusting, server_hostname="peer.test")
            await stream.send_all(b"Encrypted?")
            print((await stream.receive_some()).decode(), stream.version())
            await stream.aclose()
            nursery.cancel_scope.cancel()


trio.run(main)
