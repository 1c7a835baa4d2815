"""httpx asks a server of the kernel's by name over TLS, and verifies its certificate.

python examples/https_client.py
"""

import ssl

import httpx
import trio

import tunstack
from tunstack.apps import APPS


async def main() -> None:
    with tunstack.Authority() as authority:
        handler = APPS["https"].make_handler(authority.issue(["kernel.test"]))
        trusting = ssl.create_default_context(cafile=authority.bundle)
        async with (
            tunstack.open_namespace() as ns,
            ns.open_host("198.51.100.2/24") as host,
            trio.open_nursery() as nursery,
        ):
            server = ns.socket()
            await server.bind(("198.51.100.1", 443))
            server.listen()
            nursery.start_soon(trio.serve_listeners, handler, [trio.SocketListener(server)])
            udp = ns.socket(type=trio.socket.SOCK_DGRAM)
            await udp.bind(("198.51.100.1", 53))
            dns = tunstack.DnsServer(tunstack.Names({"kernel.test": "198.51.100.1"}))
            nursery.start_soon(dns.datagram_handler, udp)
            host.use_nameservers("198.51.100.1")
            with host.socket_factory():
                async with httpx.AsyncClient(verify=trusting) as client:
                    response = await client.get("https://kernel.test/bytes/1000000")
            print(f"{response.status_code}: {len(response.content):,} bytes, verified")
            nursery.cancel_scope.cancel()


trio.run(main)
