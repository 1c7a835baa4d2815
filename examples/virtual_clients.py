"""250 clients with an address each load a page from Python's http.server, in both families.

    python examples/virtual_clients.py

The host has every address of two networks but the kernel's. The server logs who asks.
"""

import subprocess
import sys

import trio

import tunstack

SERVER = [sys.executable, "-um", "http.server", "80", "--bind", "::"]
NETWORKS = ("198.51.100.0/24", "2001:db8::/64")
CLIENTS = {"198.51.100.1": "198.51.100.{:d}", "2001:db8::1": "2001:db8::{:x}"}


async def main() -> None:
    async with tunstack.open_namespace() as ns, ns.open_host(*NETWORKS) as host:
        process = await ns.open_process(SERVER, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert process.stdout is not None
        async with process.stdout:
            log = await process.stdout.receive_some()  # It serves.
            for server, client in CLIENTS.items():
                for number in range(2, 252):
                    own = client.format(number)
                    async with await host.open_tcp_stream(server, 80, local_address=own) as stream:
                        await stream.send_all(b"GET / HTTP/1.0\r\n\r\n")
                        assert (await stream.receive_some()).startswith(b"HTTP/1.0 200 OK")
            process.terminate()
            log += b"".join([data async for data in process.stdout])
        await process.wait()
    seen = {line.split()[0] for line in log.splitlines() if b'"GET / ' in line}
    print(f"the server's log shows {len(seen)} addresses")


trio.run(main)
