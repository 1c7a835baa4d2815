"""Some hundred random runs, and that the soak would notice; ``make soak`` does ten thousand."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.families import each_family
from tests.simulator import soak
from tunstack.ip.family import IPV4
from tunstack.simulator import Application, Simulator
from tunstack.tcp.connection.idle_timers import IdleTimers
from tunstack.tcp.receiver.reassembly import Reassembly
from tunstack.tcp.receiver.receive_buffer import ReceiveBuffer
from tunstack.udp.receive_queue import ReceiveQueue

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.compiled import PatchMethod
    from tunstack.ip.family import Family
    from tunstack.tcp.config import Config
    from tunstack.udp.receive_queue import Received

RUNS = 400
BLOCK = 50
SOME = 25
WITH_UDP = partial(soak.soak, kind=soak.WITH_UDP)
FEW = range(20)


@pytest.mark.parametrize("first", range(0, RUNS, BLOCK))
@each_family
def test_nothing_is_lost_doubled_or_left_behind(first: int, family: Family) -> None:
    results = map(partial(soak.attempt, family=family.name), range(first, first + BLOCK))
    assert soak.run_all(results, BLOCK, family.name) == []


@each_family
@pytest.mark.parametrize("kind", [kind for kind in soak.KINDS if kind != soak.PLAIN_KIND])
def test_nothing_is_lost_with_fragments_or_beside_datagrams(family: Family, kind: str) -> None:
    results = map(partial(soak.attempt, family=family.name, kind=kind), range(SOME))
    assert soak.run_all(results, SOME, family.name, kind) == []


@each_family
def test_fragments_and_datagrams_are_of_every_kind(family: Family) -> None:
    cut, beside = (
        sum((soak.soak(seed, family, kind) for seed in range(1, 14)), Counter[str]())
        for kind in (soak.FRAGMENTS, soak.WITH_UDP)
    )
    assert cut["datagrams reassembled"] > 100
    assert cut["packets cut"] > 100
    assert cut["fragments timed out"] > 0
    assert beside["paths that corrupt"] > 3
    assert beside["datagrams sent"] > beside["datagrams at the server"] > 100
    assert beside["datagrams that came back"] > 50
    assert beside["datagrams reassembled"] > 5


@each_family
def test_the_runs_are_of_every_kind(family: Family) -> None:
    total = sum((soak.soak(seed, family) for seed in range(60)), Counter[str]())
    assert min(total.values()) > 0
    assert total["connections"] > 60
    assert total["ends closed or aborted"] > 20
    assert total["segments sent again"] > 100
    assert total["packets marked"] > 20
    assert total["connections opened fast"] > 5


def failures(run: Callable[[int], object]) -> set[str]:
    """What the first few seeds fail for."""
    why = set()
    for seed in FEW:
        try:
            run(seed)
        except AssertionError as error:
            why.add(str(error))
    return why


def test_a_datagram_with_an_octet_wrong_is_noticed(patch_method: PatchMethod) -> None:
    right = ReceiveQueue.add

    def wrong(self: ReceiveQueue, received: Received, size: int) -> int:
        data, *rest = received
        return right(self, (data[:-1] + b"!", *rest), size)  # type: ignore[arg-type]

    patch_method(ReceiveQueue, "add", wrong)
    assert any("what was not sent arrived" in why for why in failures(WITH_UDP))


def test_a_datagram_that_comes_twice_is_noticed(patch_method: PatchMethod) -> None:
    right = ReceiveQueue.add

    def wrong(self: ReceiveQueue, received: Received, size: int) -> int:
        return right(self, received, size) + right(self, received, size)

    patch_method(ReceiveQueue, "add", wrong)
    assert "the server received more than was sent" in failures(WITH_UDP)


def test_a_datagram_that_is_lost_is_noticed(patch_method: PatchMethod) -> None:
    right = ReceiveQueue.add

    def wrong(self: ReceiveQueue, received: Received, size: int) -> int:
        return 0 if len(received[0]) == 4 else right(self, received, size)

    patch_method(ReceiveQueue, "add", wrong)
    why = failures(WITH_UDP)
    assert {"the server did not receive all", "dropped: udp_buffer_full"} & why


def test_an_octet_that_is_lost_is_noticed(patch_method: PatchMethod) -> None:
    right = ReceiveBuffer.take

    def wrong(self: ReceiveBuffer, limit: int) -> bytes:
        data = right(self, limit)
        return data[:-2] + data[-1:] if len(data) > 1000 else data

    patch_method(ReceiveBuffer, "take", wrong)
    assert any("received what was not sent" in why for why in failures(soak.soak))


def test_data_that_never_arrives_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Application.send

    def wrong(self: Application, data: bytes) -> None:
        right(self, data[:1000])

    monkeypatch.setattr(Application, "send", wrong)
    assert any("and no end" in why for why in failures(soak.soak))


def test_a_connection_that_is_left_behind_is_noticed(patch_method: PatchMethod) -> None:
    """TIME-WAIT without a timer."""
    patch_method(IdleTimers, "watch", lambda *_: None)
    assert any("left behind: " in why for why in failures(soak.soak))


def test_chance_that_is_not_the_seeds_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Simulator.connect
    calls = iter(range(1 << 20))

    def wrong(self: Simulator, config: Config | None = None, *, early: bool = False) -> object:
        self.now += next(calls) * 1e-3
        return right(self, config, early=early)

    monkeypatch.setattr(Simulator, "connect", wrong)
    assert "the second run sent other octets" in failures(soak.soak)


def test_a_packet_larger_than_the_path_takes_is_noticed(patch_method: PatchMethod) -> None:
    patch_method(Reassembly, "blocks", lambda self, limit: ((1, 2),) * 4)
    assert any("octets over 68" in why for why in failures(soak.soak))


def test_a_failure_is_reported_with_the_command_that_repeats_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(seed: int, family: Family, kind: str) -> Counter[str]:
        assert (family, kind) == (IPV4, soak.PLAIN_KIND)
        assert seed != 3, "three"
        return Counter(runs=1)

    monkeypatch.setattr(soak, "soak", wrong)
    assert soak.run_all(map(soak.attempt, range(5)), 5) == [3]
    said = capsys.readouterr().out
    assert "AssertionError: three" in said
    assert "seed 3 failed: python -m tests.simulator.soak --seed 3\n" in said
    assert "5 of 5 runs, 1 failed, 0 s\n" in said
    assert "4 runs" in said
    monkeypatch.setattr(soak, "soak", lambda *_: 1 / 0)
    tried = map(partial(soak.attempt, family="IPv6", kind="udp"), [5])
    assert soak.run_all(tried, 1, "IPv6", "udp") == [5]
    said = capsys.readouterr().out
    assert "python -m tests.simulator.soak --family IPv6 --kind udp --seed 5\n" in said


def test_ece_in_time_wait_has_no_effect() -> None:
    """What is left of the connection has no congestion control; what is made of it again, has."""
    soak.soak(5728)
