"""One transfer across a bridge: how much one stack delivers to another in so many seconds.

``python -m tunstack.bench.lane`` runs one after the other: it reads the parameters of each from
standard input, as a line of JSON, and answers with the outcome. So several of these processes can
run side by side, none shares an interpreter with another, and none begins while others measure.
"""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import trio

import tunstack
from tunstack.deploy.bridge import RIGHT
from tunstack.tcp.congestion import Cubic, Reno

if TYPE_CHECKING:
    from tunstack.deploy.namespace import Namespace
    from tunstack.host.host import Host
    from tunstack.tcp.congestion import CongestionControl

PORT: Final = 9000
_STREAM: Final = Path(__file__).with_name("stream.py")
_PIECE: Final = 1 << 18
_SENT_AGAIN: Final = (
    "Tcp.RetransSegs",
    "retransmission_fast",
    "retransmission_timeout",
    "retransmission_tail_loss_probe",
)
_TIMEOUTS: Final = ("TcpExt.TCPTimeouts", "retransmission_timeout")
_DSACKS_SENT: Final = ("TcpExt.TCPDSACKOldSent", "TcpExt.TCPDSACKOfoSent")
_CONSTANTS: Final = {f"Tcp.{name}" for name in ("RtoAlgorithm", "RtoMin", "RtoMax", "MaxConn")}
"""They stand among a kernel's counters."""
_CONTROLS: Final[dict[str, type[CongestionControl]]] = {"cubic": Cubic, "reno": Reno}


@dataclass(slots=True, frozen=True, kw_only=True)
class Lane:
    """What to run. The sender is always at the left end of the bridge.

    Attributes:
        sender: ``kernel`` or ``tunstack``.
        receiver: ``kernel`` or ``tunstack``, but not both tunstack.
        congestion: The sender's congestion control.
        impair: The path, as text.
        seed: Of what the path does.
        seconds: From the moment that the connection is there.
        skipped: Of these, the first ones, whose octets are counted apart.
        offload: Whether both ends, and the path, take segments of up to 64 KiB.
    """

    sender: str
    receiver: str
    congestion: str
    impair: str
    seed: int
    seconds: float
    skipped: float = 0.0
    offload: bool = False


@dataclass(slots=True, frozen=True)
class Outcome:
    """What came out; of the counters those that are not zero.

    Attributes:
        octets: Delivered to the receiving application.
        early: Of these, what came in the seconds that the lane skips.
        path: What the path did.
        sender: What the sender counted, by the names of its kind.
        receiver: What the receiver counted, likewise.
    """

    octets: int
    path: dict[str, int]
    sender: dict[str, int] = field(default_factory=dict)
    receiver: dict[str, int] = field(default_factory=dict)
    early: int = 0

    @property
    def lost(self) -> int:
        """Packets of the sender's that the path has lost, at random or for want of room."""
        return self.path.get("out_lost", 0) + self.path.get("out_overflowed", 0)

    @property
    def sent_again(self) -> int:
        """Segments sent again, whatever for."""
        return sum(self.sender.get(name, 0) for name in _SENT_AGAIN)

    @property
    def in_vain(self) -> int:
        """Segments that came twice, as far as the receiver has told by D-SACK."""
        told = sum(self.receiver.get(name, 0) for name in _DSACKS_SENT)
        return told or self.sender.get("TcpExt.TCPDSACKRecv", 0)

    @property
    def after_timeouts(self) -> int:
        """Of what was sent again, that which a timeout was for; of a kernel, its timeouts."""
        return sum(self.sender.get(name, 0) for name in _TIMEOUTS)


async def run_lane(lane: Lane) -> Outcome:
    """Run one.

    Raises:
        tunstack.SetupError: there is no namespace to be had.
    """
    if lane.sender == lane.receiver == "kernel":
        return await _between_kernels(lane)
    config = tunstack.Config(congestion=_CONTROLS.get(lane.congestion, Cubic))
    end: Literal["left", "right"] = "left" if lane.sender == "tunstack" else "right"
    async with tunstack.open_host_bridge(
        lane.impair, end=end, seed=lane.seed, offload=lane.offload, config=config
    ) as bridge:
        transfer = _from_us if lane.sender == "tunstack" else _to_us
        octets, early = await transfer(bridge.host, bridge.kernel, lane)
        ours, theirs = _told(bridge.host.statistics()), await _counters(bridge.kernel)
        ends = (ours, theirs) if lane.sender == "tunstack" else (theirs, ours)
        return Outcome(octets, _told(bridge.statistics()), *ends, early)


async def _between_kernels(lane: Lane) -> Outcome:
    async with tunstack.open_bridge(lane.impair, seed=lane.seed, offload=lane.offload) as bridge:
        async with trio.open_nursery() as nursery:
            receiver = await _start_receiver(bridge.right, lane)
            nursery.start_soon(_send, bridge.left, lane)
            octets, early = await _result(receiver)
            nursery.cancel_scope.cancel()
        ends = await _counters(bridge.left), await _counters(bridge.right)
        return Outcome(octets, _told(bridge.statistics()), *ends, early)


async def _from_us(host: Host, kernel: Namespace, lane: Lane) -> tuple[int, int]:
    async with trio.open_nursery() as nursery:
        receiver = await _start_receiver(kernel, lane)

        @nursery.start_soon
        async def send() -> None:
            stream = await host.open_tcp_stream(RIGHT, PORT)
            piece = bytes(_PIECE)
            with suppress(trio.BrokenResourceError):  # The receiver has had enough.
                while True:
                    await stream.send_all(piece)

        octets, early = await _result(receiver)
        nursery.cancel_scope.cancel()
    return octets, early


async def _to_us(host: Host, kernel: Namespace, lane: Lane) -> tuple[int, int]:
    octets = early = 0
    (listener,) = await host.open_tcp_listeners(PORT)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_send, kernel, lane)
        stream = await listener.accept()
        start = trio.current_time() + lane.skipped
        with trio.move_on_after(lane.seconds):
            async for data in stream:
                if trio.current_time() < start:
                    early += len(data)
                octets += len(data)
        nursery.cancel_scope.cancel()
    return octets, early


async def _send(kernel: Namespace, lane: Lane) -> None:
    """Send from a kernel at the left end until cancelled."""
    script = _script("send", RIGHT, str(PORT), lane.congestion)
    await kernel.run_process(script, start_new_session=True)


async def _start_receiver(kernel: Namespace, lane: Lane) -> trio.Process:
    # In a session of its own: a terminal's interrupt is for us, who end it.
    script = _script("receive", str(PORT), str(lane.seconds), str(lane.skipped))
    process = await kernel.open_process(script, stdout=-1, start_new_session=True)
    await _line(process)
    return process


async def _result(receiver: trio.Process) -> tuple[int, int]:
    octets, early = (await _line(receiver)).split()
    await receiver.wait()
    return int(octets), int(early)


async def _counters(kernel: Namespace) -> dict[str, int]:
    """What a kernel has counted of TCP."""
    files = ["cat", "/proc/net/snmp", "/proc/net/netstat"]
    answer = await kernel.run_process(files, capture_stdout=True)
    lines = answer.stdout.decode().splitlines()
    counts: dict[str, int] = {}
    for names, values in zip(lines[::2], lines[1::2], strict=True):
        protocol, *columns = names.split()
        if protocol.startswith("Tcp"):
            for column, value in zip(columns, values.split()[1:], strict=True):
                counts[protocol[:-1] + "." + column] = int(value)
    return _told({name: count for name, count in counts.items() if name not in _CONSTANTS})


def _told(counts: dict[str, int]) -> dict[str, int]:
    return {name: count for name, count in counts.items() if count}


async def _line(process: trio.Process) -> str:
    assert process.stdout is not None
    line = bytearray()
    while not line.endswith(b"\n"):
        data = await process.stdout.receive_some()
        if not data:
            raise RuntimeError(f"the receiver failed with exit status {await process.wait()}")
        line += data
    return line.decode()


def _script(*arguments: str) -> list[str]:
    return [sys.executable, "-I", "-S", str(_STREAM), *arguments]


def main() -> None:
    """Run what is asked for, until nothing more is."""
    for line in sys.stdin:
        try:
            answer = asdict(trio.run(run_lane, Lane(**json.loads(line))))
        except Exception as error:
            answer = {"error": repr(error)}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
