"""A custom congestion control in Python.

    python examples/own_congestion_control.py

`congestion=` takes a name, or a factory of objects like the one below: for a host, a listener or,
as here, one connection. The sender reads its congestion window and calls it for ACKs and losses.
"""

import trio

import tunstack

SIZE = 200_000


class FixedWindow:
    """A fixed congestion window of four segments."""

    name = "fixed"

    def __init__(self) -> None:
        self.cwnd = self.ssthresh = 0  # The sender reads these.
        self.most = 0

    def set_mss(self, mss: int, initial_segments: int) -> None:
        """The connection is established."""
        self.mss = mss
        self.cwnd = self.ssthresh = 4 * mss

    def change_mss(self, mss: int) -> None:
        """The path MTU has changed."""
        self.mss = mss
        self.cwnd = self.ssthresh = 4 * mss

    def acknowledged(self, ack: tunstack.Acknowledgement) -> None:
        """Others increase the window here."""
        self.most = max(self.most, ack.nxt - ack.una + ack.octets)

    def loss(self, flight_size: int, now: float) -> None:
        """Others halve the window here."""

    def marked(self, flight_size: int, now: float) -> None:
        """Others reduce the window by a fifth on ECN marks (RFC 8511)."""

    def timeout(self, flight_size: int, now: float, *, repeated: bool) -> None:
        """Others restart slow start with one segment."""

    def undo(self, cwnd: int, ssthresh: int) -> None:
        """The last reduction was spurious."""

    def idle(self) -> None:
        """The connection was idle for an RTO."""


async def main() -> None:
    control = FixedWindow()
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
    # A fifth may be a tail loss probe, which the congestion window does not limit.
    print("four segments in flight, or five:", control.most <= 5 * control.mss)


trio.run(main)
