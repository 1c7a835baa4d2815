"""Paths that are narrower than the link, with routers that say so, or lie, or keep silent."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

import pytest

from tests.path.middlebox import Fate, Narrow, too_big
from tests.path.simulated import receive, transfer
from tests.tcp.inspection import Tcb
from tunstack.ip.family import FAMILIES, IPV4, IPV6, Family
from tunstack.path.impair import Impairments
from tunstack.simulator import SERVER, Simulator
from tunstack.tcp.config import Config
from tunstack.tcp.sender.mtu_probing import ALWAYS, OFF
from tunstack.wire import decode_datagram, decode_segment

if TYPE_CHECKING:
    from tunstack.simulator import Application
    from tunstack.stack.flow import Flow

DATA: Final = bytes(range(251)) * 1600
PATH: Final = Impairments(delay=0.01)

each_family = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)


def sender(server: Application) -> Flow:
    assert server.flow is not None
    return server.flow


@pytest.mark.rfc("1191:6.4")
@pytest.mark.parametrize(
    ("family", "mtu"),
    [(IPV4, 552), (IPV4, 576), (IPV4, 1000), (IPV4, 1499), (IPV6, 1280), (IPV6, 1499)],
)
@pytest.mark.parametrize("sack", [True, False])
def test_icmp_avoids_the_timeout(family: Family, mtu: int, sack: bool) -> None:
    """Nor is it taken for congestion."""
    box = Narrow(mtu)
    simulator = Simulator(
        seed=1, impairments=PATH, middlebox=box, config=Config(sack=sack), family=family
    )
    _, server = transfer(simulator, down=DATA)
    info = sender(server).info()
    assert info.pmtu == mtu
    assert info.snd_mss == mtu - family.header - 32
    assert max(box.passed) == mtu
    counts = simulator.server.stack.statistics()
    assert counts["retransmission_timeout"] == counts["retransmission_fast"] == 0
    assert counts["retransmission_too_large"] > 0
    assert counts["path_mtu_lowered"] == 1
    assert len(box.dropped) <= 10
    assert simulator.now < 1.0


@pytest.mark.rfc("1191:5")
def test_a_router_that_does_not_say_how_much_is_met_on_the_next_plateau() -> None:
    box = Narrow(1100, says=lambda mtu: 0)
    simulator = Simulator(seed=1, impairments=PATH, middlebox=box)
    _, server = transfer(simulator, down=DATA)
    assert sender(server).info().pmtu == 1006
    assert set(box.dropped) == {1500, 1492}


@pytest.mark.rfc("1191:6.3")
@pytest.mark.parametrize(("family", "mtu"), [(IPV4, 1000), (IPV6, 1300)])
def test_the_next_connection_knows(family: Family, mtu: int) -> None:
    box = Narrow(mtu)
    simulator = Simulator(seed=1, impairments=PATH, middlebox=box, family=family)
    transfer(simulator, down=DATA)
    box.dropped.clear()
    _, server = transfer(simulator, down=DATA)
    assert box.dropped == []
    assert sender(server).info().pmtu == mtu


@pytest.mark.rfc("1191:6.3")
def test_so_does_one_that_is_there_already() -> None:
    box = Narrow(1000)
    simulator = Simulator(seed=1, impairments=PATH, middlebox=box)
    other, its_server = simulator.connect()
    simulator.run(lambda: its_server.flow is not None)
    transfer(simulator, down=DATA)
    box.dropped.clear()
    its_server.send(DATA)
    receive(simulator, other, len(DATA))
    assert box.dropped == []


@pytest.mark.rfc("1191:6.3")
@pytest.mark.parametrize("widened", [True, False])
def test_after_ten_minutes_a_wider_path_is_found(widened: bool) -> None:
    """By sending what may be too large: nobody tells when a path becomes wider."""
    box = Narrow(1000)
    simulator = Simulator(seed=1, impairments=PATH, middlebox=box)
    client, server = simulator.connect()
    simulator.run(lambda: server.flow is not None)
    server.send(DATA)
    receive(simulator, client, len(DATA))
    if widened:
        box.mtu = 1500
    simulator.run(lambda: simulator.now >= 599.0)
    assert simulator.now < 601.0
    assert sender(server).info().pmtu == 1500
    box.passed.clear()
    server.send(DATA)
    receive(simulator, client, 2 * len(DATA))
    assert max(box.passed) == sender(server).info().pmtu == (1500 if widened else 1000)


@pytest.mark.rfc("1191:6.4")
@pytest.mark.parametrize("seed", range(6))
def test_a_path_that_gets_narrower_on_the_way_and_loses_as_well(seed: int) -> None:
    """All that is outstanding, and some of the ICMP messages with it, may be gone."""
    box = Narrow(1500)
    path = replace(PATH, loss=0.02, reorder=0.02, duplicate=0.01, jitter=0.003)
    simulator = Simulator(seed=seed, impairments=path, middlebox=box)
    for when, mtu in ((0.1, 1300), (0.25, 1000), (0.4, 800), (0.6, 576)):
        simulator.at(when, partial(setattr, box, "mtu", mtu))
    client, server = transfer(simulator, down=DATA, up=DATA)
    assert sender(server).info().pmtu == 576
    assert sender(client).info().pmtu == 576
    assert simulator.now < 60.0


@pytest.mark.rfc("5927:4.1", "8899:4.6.1")
@each_family
def test_a_forged_message_about_a_segment_that_is_not_outstanding_is_ignored(
    family: Family,
) -> None:
    """A blind attacker has to guess the sequence number."""
    simulator = Simulator(seed=1, impairments=PATH, family=family)
    forged = 0

    def attacker(packet: bytes) -> Fate:
        nonlocal forged
        datagram = decode_datagram(packet)
        if datagram.src != SERVER[family].ip.packed:
            return packet, None
        _, _, segment = decode_segment(datagram)
        beyond = (segment.seq + 1_000_000).to_bytes(8, "big")[-4:]
        forged += 1
        at = family.header + 4
        return packet, too_big(packet[:at] + beyond + packet[at + 4 :], 1290)

    simulator.middlebox = attacker
    _, server = transfer(simulator, down=DATA)
    assert sender(server).info().pmtu == 1500
    assert simulator.server.stack.statistics()["icmp_unmatched"] == forged > 0


@pytest.mark.rfc("5927:7.2")
@each_family
def test_a_report_below_a_proven_size_is_deferred(family: Family) -> None:
    """Even if the attacker sees our packets."""
    simulator = Simulator(seed=1, impairments=PATH, family=family)
    _, server = simulator.connect()

    def attacker(packet: bytes) -> Fate:
        return packet, (
            too_big(packet, 1290) if len(packet) > 1290 and simulator.now > 0.1 else None
        )

    simulator.middlebox = attacker
    simulator.run(lambda: server.flow is not None)
    server.send(DATA)
    server.shutdown()
    simulator.run(lambda: Tcb(sender(server)).fin_acknowledged)
    assert sender(server).info().pmtu == 1500
    assert simulator.server.stack.statistics()["retransmission_too_large"] == 0


# Black holes


@pytest.mark.rfc("4821:7.7", "8899:4.3")
@pytest.mark.parametrize(
    ("family", "mtu"),
    [(IPV4, 300), (IPV4, 576), (IPV4, 1064), (IPV4, 1400), (IPV6, 1280), (IPV6, 1400)],
)
@pytest.mark.parametrize("sack", [True, False])
def test_a_black_hole_is_crossed(family: Family, mtu: int, sack: bool) -> None:
    """And what it takes is found to within a few octets."""
    box = Narrow(mtu, says=None)
    simulator = Simulator(
        seed=1, impairments=PATH, middlebox=box, config=Config(sack=sack), family=family
    )
    _, server = transfer(simulator, down=DATA * 3)
    assert mtu - 60 < sender(server).info().pmtu <= mtu
    assert simulator.server.stack.statistics()["size_probe"] > 1


@pytest.mark.rfc("4821:7.6.2")
def test_lost_probes_are_no_congestion() -> None:
    box = Narrow(1400, says=None)
    simulator = Simulator(seed=1, impairments=PATH, middlebox=box)
    _, server = transfer(simulator, down=DATA * 3)
    counts = simulator.server.stack.statistics()
    assert counts["retransmission_fast"] == 0
    assert counts["size_probe"] > len(set(box.dropped)) - 1 > 1
    assert sender(server).info().pmtu > 1390


@pytest.mark.rfc("4821:7.7")
def test_a_restored_path_is_used_in_full_again() -> None:
    """What looked like a black hole was a cable that somebody had pulled out for a while."""
    simulator = Simulator(seed=1, impairments=PATH)
    box = Narrow(1500, says=None)
    simulator.middlebox = box
    simulator.at(0.1, partial(setattr, box, "mtu", 0))
    simulator.at(4.0, partial(setattr, box, "mtu", 1500))
    _, server = transfer(simulator, down=DATA * 3)
    assert sender(server).info().pmtu == 1500
    assert len(box.dropped) > 3


def test_without_probing_a_black_hole_is_the_end() -> None:
    """What Linux does by default; to show that the others would not pass by themselves."""
    box = Narrow(1400, says=None)
    config = Config(mtu_probing=OFF, user_timeout=60.0)
    simulator = Simulator(seed=1, impairments=PATH, middlebox=box, config=config)
    client, server = simulator.connect()
    client.shutdown()
    simulator.run(lambda: server.flow is not None)
    server.send(DATA)
    simulator.run(lambda: server.error is not None)
    assert client.received == b""


@pytest.mark.rfc("4821:7.3")
def test_it_grows_again_when_the_path_does() -> None:
    """Ten minutes after the last probe that failed."""
    box = Narrow(1200, says=None)
    simulator = Simulator(seed=1, impairments=PATH, middlebox=box)
    client, server = simulator.connect()
    simulator.run(lambda: server.flow is not None)
    server.send(DATA * 2)
    receive(simulator, client, 2 * len(DATA))
    assert sender(server).info().pmtu <= 1200
    box.mtu = 1500
    for minute in range(1, 13):
        simulator.at(60.0 * minute, partial(server.send, DATA))
        receive(simulator, client, (2 + minute) * len(DATA))
        assert (sender(server).info().pmtu == 1500) is (minute > 10)


@pytest.mark.rfc("4821:7.2")
@pytest.mark.parametrize("says", [True, False])
def test_probing_from_the_beginning_never_waits_for_a_timeout(says: bool) -> None:
    """Beside routers that speak, and beside such that do not."""
    box = Narrow(1300, says=(lambda mtu: mtu) if says else None)
    config = Config(mtu_probing=ALWAYS)
    simulator = Simulator(seed=1, impairments=PATH, middlebox=box, config=config)
    _, server = transfer(simulator, down=DATA * 3)
    assert 1290 < sender(server).info().pmtu <= 1300
    counts = simulator.server.stack.statistics()
    assert counts["retransmission_timeout"] == counts["retransmission_fast"] == 0


@pytest.mark.rfc("4821:7.6.4")
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("family", "mtu"), [(IPV4, 1234), (IPV6, 1300)])
def test_a_black_hole_that_loses_as_well(seed: int, family: Family, mtu: int) -> None:
    box = Narrow(mtu, says=None)
    path = replace(PATH, loss=0.02, reorder=0.02, duplicate=0.01, jitter=0.003)
    simulator = Simulator(seed=seed, impairments=path, middlebox=box, family=family)
    client, server = transfer(simulator, down=DATA, up=DATA)
    assert sender(server).info().pmtu <= mtu
    assert sender(client).info().pmtu <= mtu
