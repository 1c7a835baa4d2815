"""Networks of hosts in virtual time, with no kernel: for tests of trio programs.

A program runs unchanged on real TCP/IP stacks, which find each other by name; no packet leaves the
process, three minutes take a millisecond, and the same seed gives the same packets::

    async def main() -> None:
        async with tunstack.open_network(link="delay=20ms,loss=1%") as net:
            client = await net.add_host("client")
            server = await net.add_host("server", "198.51.100.9")
            await net.start(server, trio.serve_tcp, handler, 80)
            with client.socket_factory():
                await fetch("http://server/")          # httpx, say
            net.partition("client", "server")

    tunstack.run_virtual(main, seed=7)

Each host is a :class:`tunstack.Host`, with all that it can do.

===========  ======================================================================================
`network`    `open_network` and `Network`: hosts, programs, links
`run`        `run_virtual`: a trio run whose clock, scheduling and randomness follow from a seed
`member`     a host with its programs: their start, end and crash
`switch`     carries packets by destination: a wire for each pair and direction
`addresses`  which addresses hosts have
`names`      look-ups of the hosts' names
`nowhere`    what tasks have that are on no host
`record`     the packets: a capture, a ladder
`ss`         the sockets of a host as text
===========  ======================================================================================

It stands above ``ladder``, which draws its packets, and beside ``deploy``, of which it needs
nothing. The simulator is the same without trio: for the core's own tests.
"""
