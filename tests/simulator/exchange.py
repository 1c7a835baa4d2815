"""UDP beside the connections of a random run: datagrams go there and come back, or are lost.

Whatever the path does, what arrives is what was sent, octet by octet; it comes as often as it was
sent on a path that neither loses nor duplicates, and in order on one that does not reorder.
"""

from __future__ import annotations

import struct
from collections import Counter
from random import Random
from typing import TYPE_CHECKING, Final

from tunstack.simulator import DatagramApplication

if TYPE_CHECKING:
    from collections.abc import Callable

    from tunstack.path.impair import Impairments
    from tunstack.simulator import Arrival, Simulator

ECHO: Final = 7
_NUMBER: Final = struct.Struct(">I")
MOST: Final = 40
"""Datagrams of a run."""
STREAM: Final = Random(0).randbytes(1 << 16)


class ExchangeError(AssertionError):
    """A datagram came that was not sent, or one did not come that must."""


class Exchange:
    """A client that sends datagrams at random moments, and a server that echoes them.

    Attributes:
        client: The client's socket.
        server: The server's.
        sent: The data of each datagram, by number.
    """

    def __init__(
        self, rng: Random, simulator: Simulator, mtu: int, *, last: float, corrupts: bool
    ) -> None:
        """Plan all of it, up to the time `last`.

        Where the path `corrupts`, no datagram is longer than a packet: a bit that is flipped in one
        fragment, and flipped back in the same column of another, leaves the checksum right.
        """
        self._simulator = simulator
        self.client = DatagramApplication(simulator.client)
        self.server = DatagramApplication(simulator.server, ECHO, echo=True)
        self.sent: dict[int, bytes] = {}
        sizes = [0, 1, mtu // 4, mtu - 60]
        if not corrupts:
            sizes += [mtu - 10, mtu, 3 * mtu, min(20 * mtu, 65_000)]
        for number in range(rng.randrange(1, MOST)):
            size = rng.choice(sizes)
            start = rng.randrange(len(STREAM) - size) if size < len(STREAM) else 0
            data = _NUMBER.pack(number) + STREAM[start : start + size]
            self.sent[number] = data
            simulator.at(simulator.now + rng.random() * last, self._sending(data))

    def _sending(self, data: bytes) -> Callable[[], None]:
        remote = self._simulator.server.address
        return lambda: self.client.send(data, remote, ECHO)

    def check(self, there: Impairments, back: Impairments, *, drops: bool) -> None:
        """Check what was received.

        Args:
            there: The path of the client's packets.
            back: The path of the server's.
            drops: Whether the path drops packets whatever its impairments.

        Raises:
            ExchangeError: a promise was broken.
        """
        if self.client.errors or self.server.errors:
            raise ExchangeError(f"errors: {self.client.errors}, {self.server.errors}")
        arrived = self._numbers(self.server, self._simulator.client.address)
        returned = self._numbers(self.client, self._simulator.server.address)
        for name, numbers, path, before in (
            ("server", arrived, there, Counter(list(self.sent))),
            ("client", returned, back, Counter(arrived)),
        ):
            counted = Counter(numbers)
            if counted - before and not path.duplicate:
                raise ExchangeError(f"the {name} received more than was sent")
            if before - counted and not (path.loss or path.corrupt or drops):
                raise ExchangeError(f"the {name} did not receive all")

    def _numbers(self, application: DatagramApplication, source: bytes) -> list[int]:
        """The numbers of what was received, in order."""
        return [self._number(arrival, source) for arrival in application.received]

    def _number(self, arrival: Arrival, source: bytes) -> int:
        number = int(_NUMBER.unpack_from(arrival.data.ljust(_NUMBER.size))[0])
        if arrival.source != source or self.sent.get(number) != arrival.data:
            raise ExchangeError(f"what was not sent arrived at {arrival.at}")
        return number

    def close(self) -> None:
        """Close both sockets."""
        self.client.close()
        self.server.close()

    @property
    def tally(self) -> dict[str, int]:
        """How often what happened."""
        return {
            "datagrams sent": len(self.sent),
            "datagrams at the server": len(self.server.received),
            "datagrams that came back": len(self.client.received),
        }
