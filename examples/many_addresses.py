"""One process answers for 65,536 addresses, and takes no more memory than for one.

python examples/many_addresses.py
"""

import resource

import trio

import tunstack


async def main() -> None:
    async with (
        tunstack.open_namespace() as ns,
        ns.open_host("2001:db8::2/64", "2001:db8:1::/112") as host,
        trio.open_nursery() as nursery,
    ):

        async def tell(stream: trio.SocketStream) -> None:
            await stream.send_all(stream.socket.getsockname()[0].encode())

        await nursery.start(host.serve_tcp, tell, 7)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        told = set()
        for number in range(0, 1 << 16, 64):  # Some of them; any other would do.
            with ns.socket(trio.socket.AF_INET6) as client:
                await client.connect((f"2001:db8:1::{number:x}", 7))
                told.add(await client.recv(100))
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        print(f"{len(told):,} of 65,536 addresses were asked, and told which they are")
        print(f"memory has grown by less than 4 MiB: {grown < 4096}")
        nursery.cancel_scope.cancel()


trio.run(main)
