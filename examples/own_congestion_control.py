"""A congestion control of one's own, in Python, on real traffic.

    python examples/own_congestion_control.py

`congestion=` takes a name, or whatever makes an object like the one below: for a host, a listener
or, as here, one connection. The sender asks it how much may be on its way, and tells it what
happens; the kernel at the other end of the connection never knows.
"""

import trio

import tunstack

SIZE = 200_000


class Leaky:
    """Four segments on their way, whatever the network says."""

    name = "leaky"

    def __init__(self) -> None:
        self.cwnd = self.ssthresh = 0  # The sender reads these.
        self.most = 0

    def set_mss(self, mss: int, initial_segments: int) -> None:
        """The connection opens."""
        self.mss = mss
        self.cwnd = self.ssthresh = 4 * mss

    def change_mss(self, mss: int) -> None:
        """The path is narrower, or wider, than it seemed."""
        self.mss = mss
        self.cwnd = self.ssthresh = 4 * mss

    def acknowledged(self, ack: tunstack.Acknowledgement) -> None:
        """Others would open the window here."""
        self.most = max(self.most, ack.nxt - ack.una + ack.octets)

    def loss(self, flight_size: int, now: float) -> None:
        """Others would take half of it."""

    def marked(self, flight_size: int, now: float) -> None:
        """Others would take a fifth of it: a router is about to drop (RFC 8511)."""

    def timeout(self, flight_size: int, now: float, *, repeated: bool) -> None:
        """Others would begin again with one segment."""

    def undo(self, cwnd: int, ssthresh: int) -> None:
        """Nothing was lost after all."""

    def idle(self) -> None:
        """The application has paused."""


async def main() -> None:
    control = Leaky()
    received = 0
    async with tunstack.open_namespace() as ns, ns.open_host("198.51.100.2/24") as host:
        server = ns.socket()
        await server.bind(("198.51.100.1", 80))
        server.listen()
        async with trio.SocketListener(server) as listener, trio.open_nursery() as nursery:
            stream = await host.open_tcp_stream("198.51.100.1", 80, congestion=lambda: control)

            @nursery.start_soon
            async def read() -> None:
                nonlocal received
                async with await listener.accept() as kernel:
                    async for data in kernel:
                        received += len(data)

            await stream.send_all(bytes(SIZE))
            await stream.aclose()
    print(f"the kernel received {received:,} bytes")
    # The fifth would be a tail loss probe, which asks no congestion control.
    print("four segments on their way, or five:", control.most <= 5 * control.mss)


trio.run(main)
