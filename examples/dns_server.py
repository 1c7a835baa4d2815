"""A DNS server of one's own: the kernel's programs find the names, and one of them not at first."""

import trio

import tunstack

NAMES = {
    "www.test": ["198.51.100.2", "2001:db8::2"],
    "alias.test": "CNAME www.test",
    "*.wild.test": "198.51.100.7",
    "test": ["MX 10 www.test", "TXT 'made in Python'"],
}
FAULTS = {"flaky.wild.test": "nxdomain:1"}  # For the first query only.


async def main() -> None:
    names = tunstack.Names(NAMES, faults=FAULTS)
    async with tunstack.open_namespace(names) as ns, ns.open_host() as host:
        for name in ("www.test", "alias.test", "any.wild.test", "nosuch.test"):
            print(f"{name}: {await address(ns, name)}")
        for attempt in ("first", "second"):
            print(f"flaky.wild.test, the {attempt} time: {await address(ns, 'flaky.wild.test')}")
        # The host knows the names as well.
        with host.socket_factory():
            found = await trio.socket.getaddrinfo("alias.test", 80, type=trio.socket.SOCK_STREAM)
        print("the host:", ", ".join(str(entry[4][0]) for entry in found))


async def address(ns: tunstack.Namespace, name: str) -> str:
    """What glibc says."""
    command = ["getent", "ahostsv4", name]
    result = await ns.run_process(command, check=False, capture_stdout=True)
    return result.stdout.decode().partition(" ")[0] or "not found"


trio.run(main)
