"""One transfer across a bridge: the octets that one stack delivers to another in a given time.

``python -m tunstack.bench.transfer`` runs one after the other: it reads the parameters of each from
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
_WRITE_SIZE: Final = 1 << 18
_RETRANSMISSIONS: Final = (
    "Tcp.RetransSegs",
    "retransmission_fast",
    "retransmission_timeout",
    "retransmission_tail_loss_probe",
)
_TIMEOUTS: Final = ("TcpExt.TCPTimeouts", "retransmission_timeout")
_DSACKS_SENT: Final = ("TcpExt.TCPDSACKOldSent", "TcpExt.TCPDSACKOfoSent")
_CONSTANTS: Final = {f"Tcp.{name}" for name in ("RtoAlgorithm", "RtoMin", "RtoMax", "MaxConn")}
"""Entries of /proc/net/snmp that are no counters."""
_CONTROLS: Final[dict[str, type[CongestionControl]]] = {"cubic": Cubic, "reno": Reno}


@dataclass(slots=True, frozen=True, kw_only=True)
class Transfer:
    """The parameters of a transfer. The sender is at the left end of the bridge.

    Attributes:
        sender: ``kernel`` or ``tunstack``.
        receiver: ``kernel`` or ``tunstack``, but not both tunstack.
        congestion: The sender's congestion control.
        impair: The path's impairments, as text.
        seed: Of the impairments.
        seconds: The duration, from the opening of the connection.
        skipped: The first seconds of it, whose octets are counted separately.
        offload: Whether both ends, and the path, use segments of up to 64 KiB.
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
    """The result of a transfer, with the counters that are not zero.

    Attributes:
        octets: Delivered to the receiving application.
        early: Of these, the octets in the skipped seconds.
        path: The path's counters.
        sender: The sender's counters, by their names in the kernel or in tunstack.
        receiver: The receiver's counters, likewise.
    """

    octets: int
    path: dict[str, int]
    sender: dict[str, int] = field(default_factory=dict)
    receiver: dict[str, int] = field(default_factory=dict)
    early: int = 0

    @property
    def lost(self) -> int:
        """The sender's packets that the path dropped, at random or at a full queue."""
        return self.path.get("out_lost", 0) + self.path.get("out_overflowed", 0)

    @property
    def retransmitted(self) -> int:
        """Segments retransmitted, for any reason."""
        return sum(self.sender.get(name, 0) for name in _RETRANSMISSIONS)

    @property
    def spurious(self) -> int:
        """Spurious retransmissions: segments that the receiver reported by D-SACK."""
        reported = sum(self.receiver.get(name, 0) for name in _DSACKS_SENT)
        return reported or self.sender.get("TcpExt.TCPDSACKRecv", 0)

    @property
    def timeouts(self) -> int:
        """Retransmissions by timeout; of a kernel, the timeouts."""
        return sum(self.sender.get(name, 0) for name in _TIMEOUTS)


async def run_transfer(transfer: Transfer) -> Outcome:
    """Run a transfer.

    Raises:
        tunstack.SetupError: a namespace cannot be created.
    """
    if transfer.sender == transfer.receiver == "kernel":
        return await _between_kernels(transfer)
    config = tunstack.Config(congestion=_CONTROLS.get(transfer.congestion, Cubic))
    end: Literal["left", "right"] = "left" if transfer.sender == "tunstack" else "right"
    async with tunstack.open_host_bridge(
        transfer.impair, end=end, seed=transfer.seed, offload=transfer.offload, config=config
    ) as bridge:
        run = _from_us if transfer.sender == "tunstack" else _to_us
        octets, early = await run(bridge.host, bridge.kernel, transfer)
        ours, theirs = _nonzero(bridge.host.statistics()), await _counters(bridge.kernel)
        ends = (ours, theirs) if transfer.sender == "tunstack" else (theirs, ours)
        return Outcome(octets, _nonzero(bridge.statistics()), *ends, early)


async def _between_kernels(transfer: Transfer) -> Outcome:
    async with tunstack.open_bridge(
        transfer.impair, seed=transfer.seed, offload=transfer.offload
    ) as bridge:
        async with trio.open_nursery() as nursery:
            receiver = await _start_receiver(bridge.right, transfer)
            nursery.start_soon(_send, bridge.left, transfer)
            octets, early = await _result(receiver)
            nursery.cancel_scope.cancel()
        ends = await _counters(bridge.left), await _counters(bridge.right)
        return Outcome(octets, _nonzero(bridge.statistics()), *ends, early)


async def _from_us(host: Host, kernel: Namespace, transfer: Transfer) -> tuple[int, int]:
    async with trio.open_nursery() as nursery:
        receiver = await _start_receiver(kernel, transfer)

        @nursery.start_soon
        async def send() -> None:
            stream = await host.open_tcp_stream(RIGHT, PORT)
            piece = bytes(_WRITE_SIZE)
            with suppress(trio.BrokenResourceError):  # The receiver has closed.
                while True:
                    await stream.send_all(piece)

        octets, early = await _result(receiver)
        nursery.cancel_scope.cancel()
    return octets, early


async def _to_us(host: Host, kernel: Namespace, transfer: Transfer) -> tuple[int, int]:
    octets = early = 0
    (listener,) = await host.open_tcp_listeners(PORT, host=RIGHT)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_send, kernel, transfer)
        stream = await listener.accept()
        start = trio.current_time() + transfer.skipped
        with trio.move_on_after(transfer.seconds):
            async for data in stream:
                if trio.current_time() < start:
                    early += len(data)
                octets += len(data)
        nursery.cancel_scope.cancel()
    return octets, early


async def _send(kernel: Namespace, transfer: Transfer) -> None:
    """Send from a kernel at the left end until cancelled."""
    script = _script("send", RIGHT, str(PORT), transfer.congestion)
    await kernel.run_process(script, start_new_session=True)


async def _start_receiver(kernel: Namespace, transfer: Transfer) -> trio.Process:
    # In a session of its own: Ctrl-C is for us, who end it.
    script = _script("receive", str(PORT), str(transfer.seconds), str(transfer.skipped))
    process = await kernel.open_process(script, stdout=-1, start_new_session=True)
    await _line(process)
    return process


async def _result(receiver: trio.Process) -> tuple[int, int]:
    octets, early = (await _line(receiver)).split()
    await receiver.wait()
    return int(octets), int(early)


async def _counters(kernel: Namespace) -> dict[str, int]:
    """Read a kernel's TCP counters."""
    files = ["cat", "/proc/net/snmp", "/proc/net/netstat"]
    answer = await kernel.run_process(files, capture_stdout=True)
    lines = answer.stdout.decode().splitlines()
    counts: dict[str, int] = {}
    for names, values in zip(lines[::2], lines[1::2], strict=True):
        protocol, *columns = names.split()
        if protocol.startswith("Tcp"):
            for column, value in zip(columns, values.split()[1:], strict=True):
                counts[protocol[:-1] + "." + column] = int(value)
    return _nonzero({name: count for name, count in counts.items() if name not in _CONSTANTS})


def _nonzero(counts: dict[str, int]) -> dict[str, int]:
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
    """Run the transfers that standard input asks for."""
    for line in sys.stdin:
        try:
            answer = asdict(trio.run(run_transfer, Transfer(**json.loads(line))))
        except Exception as error:
            answer = {"error": repr(error)}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
