"""Which connection a segment belongs to, and who has which port."""

from __future__ import annotations

import errno
from itertools import pairwise
from random import Random
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunstack.ip.address import packed
from tunstack.ip.demux import EPHEMERAL_PORTS, Demultiplexer, FourTuple
from tunstack.ip.family import IPV4, IPV6

A, B, PEER, OTHER = (packed(f"198.51.100.{n}") for n in (2, 3, 1, 9))
PORT: Final = 80
NAME: Final = FourTuple(A, PORT, PEER, 4000)
ANY: Final = None
ANY4, ANY6 = IPV4.wildcard, IPV6.wildcard
SIX, SEVEN, PEER6 = (packed(f"2001:db8::{n}") for n in (6, 7, 1))
NAME6: Final = FourTuple(SIX, PORT, PEER6, 4000)

CONFLICTS: Final = [
    (ANY, ANY),
    (ANY, ANY4),
    (ANY, ANY6),
    (ANY, A),
    (ANY, SIX),
    (ANY4, ANY4),
    (ANY4, A),
    (ANY6, ANY6),
    (ANY6, SIX),
    (A, A),
    (SIX, SIX),
]
"""Addresses on which two sockets meet, tried on Linux; None is ``::`` without IPV6_V6ONLY."""
BESIDE: Final = [(ANY6, ANY4), (ANY6, A), (ANY4, SIX), (A, SIX), (A, B), (SIX, SEVEN)]
"""Those on which they do not."""

Demux = Demultiplexer[str, str]


@pytest.fixture
def demux() -> Demux:
    return Demultiplexer(Random(1))


def renamed(
    local: bytes = A, local_port: int = PORT, remote: bytes = PEER, remote_port: int = 4000
) -> FourTuple:
    """`NAME`, but for what is given."""
    return FourTuple(local, local_port, remote, remote_port)


def number(error: pytest.ExceptionInfo[OSError]) -> int | None:
    return error.value.errno


# Connections


def test_connection_is_found_by_its_name(demux: Demux) -> None:
    demux.add(NAME, "one")
    assert demux.find(NAME) == "one"
    for name in (renamed(remote_port=4001), renamed(local=B), renamed(remote=B)):
        assert demux.find(name) is None
    assert [*demux.connections] == ["one"]


def test_name_is_taken_once(demux: Demux) -> None:
    demux.add(NAME, "one")
    with pytest.raises(OSError, match="Cannot assign") as error:
        demux.add(NAME, "two")
    assert number(error) == errno.EADDRNOTAVAIL
    assert demux.find(NAME) == "one"


def test_a_name_goes_there_and_back() -> None:
    assert FourTuple.from_incoming(NAME.incoming) == NAME


def test_what_is_left_of_a_connection_keeps_its_name_and_its_port(demux: Demux) -> None:
    demux.add(NAME, "one")
    assert demux.detach(NAME, "one")
    demux.time_waits = {NAME.incoming}
    assert not demux.detach(NAME, "one")
    assert demux.find(NAME) is None
    assert NAME.incoming not in demux.incoming
    with pytest.raises(OSError, match="Cannot assign"):
        demux.add(NAME, "two")
    with pytest.raises(OSError, match="in use"):
        demux.bind(ANY, PORT, reuse=False)
    demux.time_waits = ()
    demux.release_port(NAME.incoming)
    assert demux.bind(ANY, PORT, reuse=False) == PORT
    demux.add(NAME, "two")


def test_it_comes_back_as_another(demux: Demux) -> None:
    demux.add(NAME, "one")
    demux.detach(NAME, "one")
    demux.reattach(NAME, "like it")
    assert demux.find(NAME) == demux.incoming[NAME.incoming] == "like it"
    demux.remove(NAME, "like it")
    assert demux.bind(ANY, PORT, reuse=False) == PORT


def test_an_ephemeral_port_gives_an_unused_four_tuple(demux: Demux) -> None:
    taken = [FourTuple(A, port, PEER, PORT).incoming for port in EPHEMERAL_PORTS if port != 50000]
    for port in EPHEMERAL_PORTS:
        demux.add(FourTuple(A, port, OTHER, PORT), "elsewhere")
    demux.time_waits = frozenset(taken)
    assert demux.ephemeral_port(A, PEER, PORT) == 50000


def test_removal_spares_a_successor(demux: Demux) -> None:
    """A new incarnation may have taken the name by then; and again is no matter."""
    demux.add(NAME, "old")
    demux.remove(NAME, "old")
    demux.add(NAME, "new")
    demux.remove(NAME, "old")
    assert demux.find(NAME) == "new"
    demux.remove(NAME, "new")
    demux.remove(NAME, "new")
    assert demux.find(NAME) is None


def test_a_packed_four_tuple_is_unique() -> None:
    names = {
        NAME,
        renamed(local=B),
        renamed(local_port=PORT << 8),
        renamed(remote=B),
        renamed(remote_port=4001),
        FourTuple(PEER, 4000, A, PORT),
    }
    assert len({name.packed for name in names}) == len(names)
    assert {len(name.packed) for name in names} == {12}


# Listeners


def test_the_closest_listener_is_found(demux: Demux) -> None:
    demux.listen(A, PORT, "on A")
    demux.listen(B, PORT, "on B")
    assert demux.find_listener(A, PORT) == "on A"
    assert demux.find_listener(B, PORT) == "on B"
    assert demux.find_listener(OTHER, PORT) is None
    assert demux.find_listener(A, 81) is None


def test_listener_on_every_address(demux: Demux) -> None:
    demux.listen(ANY, PORT, "everywhere")
    assert demux.find_listener(A, PORT) == demux.find_listener(B, PORT) == "everywhere"
    demux.unlisten(ANY, PORT)
    assert demux.find_listener(A, PORT) is None


@pytest.mark.rfc("MUST-41")
@pytest.mark.parametrize(("first", "second"), [*CONFLICTS, *(pair[::-1] for pair in CONFLICTS)])
def test_one_listener_where_two_would_meet(
    demux: Demux, first: bytes | None, second: bytes | None
) -> None:
    demux.listen(first, PORT, "first")
    with pytest.raises(OSError, match="in use") as error:
        demux.listen(second, PORT, "second")
    assert number(error) == errno.EADDRINUSE
    demux.listen(second, PORT + 1, "elsewhere")


@pytest.mark.parametrize(("first", "second"), [*BESIDE, *(pair[::-1] for pair in BESIDE)])
@pytest.mark.parametrize("reuse", [False, True])
def test_listeners_that_share_no_address_share_a_port(
    demux: Demux, first: bytes | None, second: bytes | None, reuse: bool
) -> None:
    for address, listener in ((first, "first"), (second, "second")):
        demux.bind(address, PORT, reuse=reuse)
        demux.listen(address, PORT, listener)
    demux.unlisten(first, PORT)
    demux.unbind(first, PORT, reuse=reuse)
    demux.bind(first, PORT, reuse=reuse)


def test_listener_of_both_families_and_of_one(demux: Demux) -> None:
    demux.listen(ANY, PORT, "both")
    assert demux.find_listener(A, PORT) == demux.find_listener(SIX, PORT) == "both"
    demux.unlisten(ANY, PORT)
    demux.listen(ANY4, PORT, "IPv4")
    assert demux.find_listener(A, PORT) == "IPv4"
    assert demux.find_listener(SIX, PORT) is None
    demux.listen(ANY6, PORT, "IPv6")
    assert demux.find_listener(SIX, PORT) == "IPv6"
    demux.unlisten(ANY4, PORT)
    assert demux.find_listener(A, PORT) is None
    assert demux.find_listener(SEVEN, PORT) == "IPv6"


def test_all_listeners_are_listed_each_once(demux: Demux) -> None:
    listeners = [(ANY4, 1, "1"), (ANY6, 1, "2"), (ANY, 2, "3"), (A, 3, "4"), (SIX, 4, "5")]
    for address, port, listener in reversed(listeners):
        demux.listen(address, port, listener)
    assert demux.listeners() == listeners
    demux.unlisten(ANY, 2)
    assert demux.listeners() == [*listeners[:2], *listeners[3:]]


def test_the_closest_listener_of_ipv6_is_found(demux: Demux) -> None:
    demux.listen(SIX, PORT, "on SIX")
    demux.listen(ANY4, PORT, "IPv4")
    assert demux.find_listener(SIX, PORT) == "on SIX"
    assert demux.find_listener(SEVEN, PORT) is None


def test_connections_of_both_families(demux: Demux) -> None:
    demux.add(NAME, "four")
    demux.add(NAME6, "six")
    assert (demux.find(NAME), demux.find(NAME6)) == ("four", "six")
    assert FourTuple.from_incoming(NAME6.incoming) == NAME6
    assert len(NAME6.packed) == 36
    with pytest.raises(OSError, match="in use"):
        demux.bind(ANY6, PORT, reuse=False)
    demux.remove(NAME6, "six")
    demux.bind(ANY6, PORT, reuse=False)
    with pytest.raises(OSError, match="in use"):
        demux.bind(ANY4, PORT, reuse=False)
    assert demux.detach(NAME, "four")
    demux.release_port(NAME.incoming)
    demux.bind(ANY4, PORT, reuse=False)


# Ports


def test_each_family_has_all_ephemeral_ports() -> None:
    demux: Demux = Demultiplexer(Random(1))
    for port in EPHEMERAL_PORTS:
        demux.bind(ANY4, port, reuse=False)
    assert demux.bind(ANY6, 0, reuse=False) in EPHEMERAL_PORTS
    assert demux.ephemeral_port(SIX, PEER6, PORT) in EPHEMERAL_PORTS
    for address in (ANY, ANY4, A):
        with pytest.raises(OSError, match="in use"):
            demux.bind(address, 0, reuse=False)
    with pytest.raises(OSError, match="Cannot assign"):
        demux.ephemeral_port(A, PEER, PORT)


def test_any_free_port_of_both_families_is_free_in_both(demux: Demux) -> None:
    for port in EPHEMERAL_PORTS:
        if port != 50000:
            demux.bind(ANY4 if port % 2 else ANY6, port, reuse=True)
    assert demux.bind(ANY, 0, reuse=True) == 50000


def test_any_free_port_at_an_address_may_be_in_use_at_another() -> None:
    """As on Linux, once no port is left that nobody uses."""
    demux: Demux = Demultiplexer(Random(1))
    for port in EPHEMERAL_PORTS:
        demux.bind(A, port, reuse=False)
    assert demux.bind(B, 0, reuse=False) in EPHEMERAL_PORTS
    with pytest.raises(OSError, match="in use"):
        demux.bind(A, 0, reuse=False)


def test_port_is_bound_and_given_back(demux: Demux) -> None:
    assert demux.bind(ANY, PORT, reuse=False) == PORT
    with pytest.raises(OSError, match="in use") as error:
        demux.bind(ANY, PORT, reuse=False)
    assert number(error) == errno.EADDRINUSE
    demux.unbind(ANY, PORT, reuse=False)
    assert demux.bind(ANY, PORT, reuse=False) == PORT


@pytest.mark.parametrize(("first", "second"), [*CONFLICTS, *(pair[::-1] for pair in CONFLICTS)])
@pytest.mark.parametrize(("one", "other"), [(False, False), (True, False), (False, True)])
def test_sockets_share_a_port_if_both_say_so(
    demux: Demux, first: bytes | None, second: bytes | None, one: bool, other: bool
) -> None:
    """SO_REUSEADDR, as Linux has it."""
    demux.bind(first, PORT, reuse=one)
    with pytest.raises(OSError, match="in use"):
        demux.bind(second, PORT, reuse=other)
    demux.unbind(first, PORT, reuse=one)
    demux.bind(first, PORT, reuse=True)
    demux.bind(second, PORT, reuse=True)


def test_sockets_on_different_addresses_share_a_port(demux: Demux) -> None:
    demux.bind(A, PORT, reuse=False)
    demux.bind(B, PORT, reuse=False)


def test_port_of_a_listener_is_not_shared(demux: Demux) -> None:
    demux.bind(A, PORT, reuse=True)
    demux.listen(A, PORT, "listener")
    with pytest.raises(OSError, match="in use"):
        demux.bind(A, PORT, reuse=True)
    demux.bind(B, PORT, reuse=True)
    demux.unlisten(A, PORT)
    demux.bind(A, PORT, reuse=True)


def test_port_of_old_connections_is_taken_with_reuse_only(demux: Demux) -> None:
    """Such as those in TIME-WAIT."""
    demux.add(NAME, "old")
    with pytest.raises(OSError, match="in use"):
        demux.bind(ANY, PORT, reuse=False)
    demux.bind(ANY, PORT, reuse=True)
    demux.unbind(ANY, PORT, reuse=True)
    demux.remove(NAME, "old")
    demux.bind(ANY, PORT, reuse=False)


def test_any_free_port(demux: Demux) -> None:
    ports = [demux.bind(ANY, 0, reuse=False) for _ in range(500)]
    assert len(set(ports)) == 500
    assert all(port in EPHEMERAL_PORTS for port in ports)


def test_no_free_port() -> None:
    demux: Demux = Demultiplexer(Random(1))
    for port in EPHEMERAL_PORTS:
        demux.bind(ANY, port, reuse=True)
    with pytest.raises(OSError, match="in use") as error:
        demux.bind(ANY, 0, reuse=True)
    assert number(error) == errno.EADDRINUSE
    with pytest.raises(OSError, match="Cannot assign") as error:
        demux.ephemeral_port(A, PEER, PORT)
    assert number(error) == errno.EADDRNOTAVAIL
    demux.unbind(ANY, 33333, reuse=True)
    assert demux.ephemeral_port(A, PEER, PORT) == 33333


@pytest.mark.rfc("6056:3")
def test_ephemeral_ports_are_not_sequential(demux: Demux) -> None:
    """RFC 6056."""
    ports = [demux.ephemeral_port(A, PEER, PORT) for _ in range(200)]
    assert all(port in EPHEMERAL_PORTS for port in ports)
    assert len(set(ports)) > 190
    steps = {after - before for before, after in pairwise(ports)}
    assert len(steps) > 190


def test_ephemeral_port_is_shared_with_connections_to_elsewhere() -> None:
    demux: Demux = Demultiplexer(Random(1))
    for port in EPHEMERAL_PORTS:
        if port != 40000:
            demux.bind(ANY, port, reuse=True)
    name = FourTuple(A, 40000, PEER, PORT)
    demux.add(name, "to the peer")
    assert demux.ephemeral_port(A, OTHER, PORT) == 40000
    assert demux.ephemeral_port(A, PEER, PORT + 1) == 40000
    with pytest.raises(OSError, match="Cannot assign"):
        demux.ephemeral_port(A, PEER, PORT)


@settings(deadline=None, derandomize=True, max_examples=200)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 2), st.integers(0, 2)), max_size=30))
def test_nothing_is_left_of_what_was_given_back(steps: list[tuple[bool, int, int]]) -> None:
    """Connections and sockets come and go in any order; then every port is free again."""
    demux: Demux = Demultiplexer(Random(1))
    bound: list[int] = []
    added: dict[FourTuple, str] = {}
    for is_socket, port, remote_port in steps:
        name = FourTuple(A, port + 1, PEER, remote_port)
        if is_socket:
            if bound and remote_port == 0:
                demux.unbind(ANY, bound[-1], reuse=True)
                bound.pop()
            else:
                bound.append(demux.bind(ANY, port + 1, reuse=True))
        elif name in added:
            demux.remove(name, added.pop(name))
        else:
            added[name] = str(name)
            demux.add(name, added[name])
        assert [*demux.connections] == [*added.values()]
    for port in bound:
        demux.unbind(ANY, port, reuse=True)
    for name, connection in added.items():
        demux.remove(name, connection)
    for port in (1, 2, 3):
        demux.bind(ANY, port, reuse=False)
