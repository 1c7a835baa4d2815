"""What routers tell of the size of packets, and how long it is kept in mind."""

from __future__ import annotations

import pytest

from tunstack.ip.datagram import TCP, Datagram
from tunstack.ip.icmp import DESTINATION_UNREACHABLE, FRAGMENTATION_NEEDED, IcmpMessage
from tunstack.ip.icmpv6 import PACKET_TOO_BIG
from tunstack.ip.path_mtu import LIFETIME, PLATEAUS, PathMtus, reported_mtu

HERE, THERE, ELSEWHERE = (bytes((198, 51, 100, last)) for last in (2, 1, 3))


def message(mtu: int, size: int) -> IcmpMessage:
    """About a datagram of `size` octets, from a router whose next hop takes `mtu`."""
    return IcmpMessage(
        DESTINATION_UNREACHABLE,
        FRAGMENTATION_NEEDED,
        mtu,
        quoted=Datagram(HERE, THERE, TCP, bytes(8)),
        quoted_length=size,
    )


@pytest.mark.rfc("1191:4", "1191:3-1")
@pytest.mark.parametrize("mtu", [552, 576, 1000, 1499])
def test_fragmentation_needed_reports_the_next_hop_mtu(mtu: int) -> None:
    assert reported_mtu(message(mtu, 1500)) == mtu


@pytest.mark.rfc("1191:5", "1191:5-1")
@pytest.mark.parametrize(
    ("size", "plateau"),
    [(65535, 32000), (9000, 8166), (2002, 1492), (1500, 1492), (1492, 1006), (1000, 552)],
)
def test_one_that_does_not_say_means_the_next_plateau(size: int, plateau: int) -> None:
    assert reported_mtu(message(0, size)) == plateau
    assert (plateau in PLATEAUS) is (plateau != 552)


@pytest.mark.rfc("1191:3", "1191:3-1")
@pytest.mark.parametrize("mtu", [1, 20, 67])
def test_less_than_every_module_must_forward_is_nonsense(mtu: int) -> None:
    """68 octets (RFC 791)."""
    assert reported_mtu(message(mtu, 1500)) is None


@pytest.mark.parametrize("mtu", [68, 296, 551])
def test_a_report_below_552_is_limited(mtu: int) -> None:
    """Linux's min_pmtu: a forged message must not make each octet cost forty."""
    assert reported_mtu(message(mtu, 1500)) == 552


@pytest.mark.parametrize(("mtu", "size"), [(1500, 1500), (1501, 1500), (1500, 40), (68, 500)])
def test_what_would_have_fitted_was_not_dropped(mtu: int, size: int) -> None:
    assert reported_mtu(message(mtu, size)) is None


def test_a_size_of_nothing_is_nonsense() -> None:
    assert reported_mtu(message(0, 0)) is None
    assert reported_mtu(message(0, 68)) is None


def too_big(mtu: int, size: int) -> IcmpMessage:
    """An ICMPv6 Packet Too Big about a datagram of `size` octets."""
    quoted = Datagram(bytes(15) + b"\2", bytes(15) + b"\1", TCP, bytes(8))
    return IcmpMessage(PACKET_TOO_BIG, 0, mtu, quoted=quoted, quoted_length=size)


@pytest.mark.rfc("8201:4")
@pytest.mark.parametrize("mtu", [1280, 1281, 1499])
def test_a_packet_that_is_too_big_tells_the_path_mtu(mtu: int) -> None:
    assert reported_mtu(too_big(mtu, 1500)) == mtu


@pytest.mark.rfc("8201:4", "8201:4-1")
@pytest.mark.parametrize("mtu", [0, 68, 1279])
def test_less_than_every_ipv6_link_carries_is_discarded(mtu: int) -> None:
    assert reported_mtu(too_big(mtu, 1500)) is None


@pytest.mark.rfc("8201:4", "8201:4-3")
@pytest.mark.parametrize(("mtu", "size"), [(1500, 1500), (1 << 31, 1500), (1280, 1280)])
def test_a_path_mtu_is_not_increased_by_a_message(mtu: int, size: int) -> None:
    assert reported_mtu(too_big(mtu, size)) is None


def test_an_unknown_path_has_the_mtu_of_the_link() -> None:
    assert PathMtus(1500).get(THERE) == 1500


@pytest.mark.rfc("1191:6.3")
def test_a_path_gets_narrower_only() -> None:
    """Never wider by what a router says."""
    paths = PathMtus(1500)
    assert paths.lower(THERE, 1000, 0.0)
    assert not paths.lower(THERE, 1200, 1.0)
    assert not paths.lower(THERE, 1000, 1.0)
    assert not paths.lower(ELSEWHERE, 1500, 1.0)
    assert paths.lower(THERE, 900, 1.0)
    assert (paths.get(THERE), paths.get(ELSEWHERE)) == (900, 1500)


@pytest.mark.rfc("1191:6.3", "1191:6.3-1", "8201:4-4")
def test_after_ten_minutes_it_is_forgotten() -> None:
    paths = PathMtus(1500)
    paths.lower(THERE, 1000, 5.0)
    paths.lower(ELSEWHERE, 1000, 6.0)
    paths.lower(THERE, 900, 7.0)
    assert LIFETIME == 600.0
    assert paths.deadline() == 606.0
    assert paths.expired(605.9) == []
    assert paths.expired(606.0) == [ELSEWHERE]
    assert paths.deadline() == 607.0
    assert paths.get(THERE) == 900
    assert paths.expired(1000.0) == [THERE]
    assert paths.deadline() is None
    assert paths.get(THERE) == 1500


def test_what_is_known_has_an_end() -> None:
    """The oldest is forgotten: whoever makes us talk to many has not much of it."""
    paths = PathMtus(1500)
    addresses = [number.to_bytes(4, "big") for number in range(10_000)]
    for number, address in enumerate(addresses):
        paths.lower(address, 1000, float(number))
    known = [paths.get(address) == 1000 for address in addresses]
    count = sum(known)
    assert 1000 < count < 5000
    assert all(known[-count:])
