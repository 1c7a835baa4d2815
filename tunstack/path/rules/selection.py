"""Which packets a rule applies to: its selection, checked once, then asked for each packet."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypedDict, final

from tunstack.ip.datagram import ICMP, ICMPV6
from tunstack.ip.demux import FourTuple
from tunstack.path.rules.flags import flag_test
from tunstack.path.rules.numbers import is_real, is_whole
from tunstack.path.rules.packet import OTHER_WAY, PROTOCOL_NAMES, Direction, Packet
from tunstack.tcp.connection.state import State

if TYPE_CHECKING:
    import random
    from collections.abc import Callable
    from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

    AddressLike: TypeAlias = str | IPv4Address | IPv6Address | IPv4Network | IPv6Network

    from tunstack.ip.address import Network

_NUMBERS: Final = {name: number for number, name in PROTOCOL_NAMES.items()}
_WITH_PORTS: Final = frozenset({"tcp", "udp"})
_VERSION_OF: Final = {PROTOCOL_NAMES[ICMP]: 4, PROTOCOL_NAMES[ICMPV6]: 6}
"""The only version of IP that has the protocol."""
_ADDRESSES: Final = ("source", "destination", "local", "remote")
_PORTS: Final = ("source_port", "destination_port", "local_port", "remote_port")
_ORDINALS: Final = ("nth", "every", "first")
_OF_TCP: Final = ("flags", "state", "octets")
_STATES: Final = frozenset(state.value for state in State if state is not State.LISTEN)
"""Names of states in which a packet's connection can be."""
_MEANS: Final = {
    "in": {"source": "remote", "destination": "local"},
    "out": {"source": "local", "destination": "remote"},
}
"""What the ends of a packet are to the host, by direction."""


class Selection(TypedDict, total=False):
    """Which packets a rule applies to: those for which all that is given is true.

    A rule without any applies to every packet, those that are no valid IP included. Ports match TCP
    and UDP, and of a fragmented datagram the first fragment alone; they do not match an ICMP error
    that quotes them: select it by ``protocol="icmp"``. `flags`, `state` and `octets` match TCP.

    Attributes:
        direction: "in" to the host, "out" from it.
        protocol: "tcp", "udp", "icmp", "icmpv6", or a number.
        source: An address or a prefix.
        destination: The same.
        local: The same, at the host's end: the destination of a packet "in".
        remote: The same, at the other end.
        source_port: A port.
        destination_port: The same.
        local_port: The same, at the host's end.
        remote_port: The same, at the other end.
        flags: Control bits: ``"SYN,!ACK"`` has SYN set and ACK not set, whatever the others.
        state: The state of the host's connection when the packet comes to the rule, by RFC 9293's
            name, ``"ESTABLISHED"``; several in a list, or with commas. A packet without a
            connection, such as a first SYN that comes in, does not match.
        octets: Start and stop, or a range: the payload has any of these octets of its direction's
            stream; the first one is 0.
        nth: Only the n-th packet that matches all the rest, from 1.
        every: Only each n-th of them.
        first: Only the first n of them.
            After the last one of `nth` or `first` packets pass as if the rule were not there.
        probability: With this probability, above 0; drawn before `nth`, `every` and `first` count.
        where: A function of the `Packet`, called when all before it in this list matches but
            `nth`, `every` and `first`.
    """

    direction: Direction
    protocol: str | int
    source: AddressLike
    destination: AddressLike
    local: AddressLike
    remote: AddressLike
    source_port: int
    destination_port: int
    local_port: int
    remote_port: int
    flags: str
    state: str | Iterable[str]
    octets: tuple[int, int] | range
    nth: int
    every: int
    first: int
    probability: float
    where: Callable[[Packet], object]


Test: TypeAlias = "Callable[[Packet], bool]"


@final
class Matcher:
    """A selection, as it is asked for each packet.

    Attributes:
        selection: What it was made of.
        directions: Those of its packets.
        key: The connection by :func:`key_of`, if the selection names all of local, remote and
            their ports; else None.
        most: How many packets can match; None if any number can.

    Raises:
        TypeError: there is no such keyword.
        ValueError: a value is malformed, or no packet can match.
    """

    __slots__ = ("_count", "_rng", "_tests", "directions", "key", "most", "selection")

    def __init__(
        self,
        selection: Selection,
        rng: random.Random,
        *,
        only: str | None = None,
        because: str = "",
    ) -> None:
        """Make it; `only` is the protocol that alone has what is to be done (`because`)."""
        for name in selection:
            if name not in Selection.__annotations__:
                known = ", ".join(Selection.__annotations__)
                raise TypeError(f"rules do not select by {name!r}; there are {known}")
        self.selection = selection
        self._rng = rng
        self._count = 0
        given: dict[str, Any] = {**selection}
        given["protocol"] = _only(_protocol(given), only, because)
        networks: dict[str, Network] = {
            name: _network(name, given[name]) for name in _ADDRESSES if name in given
        }
        _check_ports(given)
        direction = given.get("direction")
        if direction is not None and direction not in OTHER_WAY:
            raise ValueError(f'direction must be "in" or "out", not {direction!r}')
        _check_possible(given, networks)
        _check_chance(given)
        self.directions: tuple[Direction, ...] = (direction,) if direction else ("in", "out")
        self.key = _exact_key(given, networks)
        self.most: int | None = 1 if "nth" in given else given.get("first")
        self._tests = _tests(given, networks)

    @property
    def spent(self) -> bool:
        """Whether it has selected all the packets that it can."""
        return self.most is not None and self._count >= self.selection.get("nth", self.most)

    def matches(self, packet: Packet, suits: Test) -> bool:
        """Whether a packet is selected; `suits` tells whether the action can be done to it.

        Whatever the selection's `where` raises comes out of it.
        """
        for test in self._tests:
            if not test(packet):
                return False
        if not suits(packet):
            return False
        selection = self.selection
        where = selection.get("where")
        if where is not None and not where(packet):
            return False
        if "probability" in selection and self._rng.random() >= selection["probability"]:
            return False
        self._count += 1
        if "nth" in selection:
            return self._count == selection["nth"]
        if "every" in selection:
            return self._count % selection["every"] == 0
        return self._count <= selection.get("first", self._count)


def key_of(packet: Packet) -> bytes | None:
    """Return a packet's connection as `FourTuple.incoming`; None of what has no ports."""
    ends = packet.four_tuple
    return None if ends is None else ends.incoming


def _exact_key(given: dict[str, Any], networks: dict[str, Network]) -> bytes | None:
    ends = [networks.get("local"), networks.get("remote")]
    whole = [each for each in ends if each is not None and each.prefixlen == each.max_prefixlen]
    if len(whole) < 2 or "local_port" not in given or "remote_port" not in given:
        return None
    local, remote = (each.network_address.packed for each in whole)
    return FourTuple(local, given["local_port"], remote, given["remote_port"]).incoming


# What is wrong with a selection


def _protocol(given: dict[str, Any]) -> str | None:
    """Return the name of the protocol; ``"tcp"`` if only TCP can match; None for any."""
    of_tcp = [name for name in _OF_TCP if name in given]
    protocol = given.get("protocol")
    if protocol is None:
        return "tcp" if of_tcp else None
    name = str(protocol).lower()
    number = _NUMBERS.get(name, int(name) if name.isdecimal() else -1)
    if not 0 <= number <= 0xFF:
        raise ValueError(f"protocol must be {', '.join(_NUMBERS)} or a number, not {protocol!r}")
    name = PROTOCOL_NAMES.get(number, str(number))
    if of_tcp and name != "tcp":
        raise ValueError(f"only TCP has {of_tcp[0]}: a rule for {name} with it never matches")
    with_ports = [each for each in _PORTS if each in given]
    if with_ports and name not in _WITH_PORTS:
        raise ValueError(f"{name} has no ports: a rule with {with_ports[0]} never matches")
    return name


def _only(protocol: str | None, only: str | None, because: str) -> str | None:
    """Return the protocol of a rule whose action only one has, ``"ICMP"`` for both families'."""
    if only is None or (only == "ICMP" and protocol in (None, *_VERSION_OF)):
        return protocol
    if protocol not in (None, only):
        raise ValueError(f"only {only.upper()} has {because}: a rule for {protocol} never applies")
    return only


def _network(name: str, value: object) -> Network:
    try:
        # ip_network takes numbers, octets and pairs for addresses as well.
        return ip_network(str(value))
    except ValueError as error:
        raise ValueError(f"{name} must be an address or a prefix: {error}") from None


def _check_ports(given: dict[str, Any]) -> None:
    for name in _PORTS:
        if name in given and not (isinstance(given[name], int) and 1 <= given[name] <= 0xFFFF):
            raise ValueError(f"{name} must be from 1 to 65535, not {given[name]!r}")


def _check_possible(given: dict[str, Any], networks: dict[str, Network]) -> None:
    """Raise ValueError if no packet has such addresses and ports."""
    versions: dict[str, int] = {name: network.version for name, network in networks.items()}
    if given["protocol"] in _VERSION_OF:
        versions["protocol"] = _VERSION_OF[given["protocol"]]
    if len({*versions.values()}) > 1:
        names = " and ".join(versions)
        raise ValueError(f"{names} are of two families: the rule never matches")
    for end, same in _MEANS.get(given.get("direction", ""), {}).items():
        if end in networks and same in networks and not networks[end].overlaps(networks[same]):
            raise ValueError(f"{end} is {same} of a packet {given['direction']}, and they differ")
        one, other = given.get(f"{end}_port"), given.get(f"{same}_port")
        if one is not None and other is not None and one != other:
            raise ValueError(
                f"{end}_port is {same}_port of a packet {given['direction']}, and they differ"
            )


def _check_chance(given: dict[str, Any]) -> None:
    ordinals = [name for name in _ORDINALS if name in given]
    if len(ordinals) > 1:
        raise ValueError(f"a rule counts by one of nth, every and first, not {len(ordinals)}")
    for name in ordinals:
        if not (is_whole(given[name]) and given[name] >= 1):
            raise ValueError(f"{name} must be 1 or more, not {given[name]!r}")
    probability = given.get("probability", 1.0)
    if not (is_real(probability) and 0.0 < probability <= 1.0):
        raise ValueError(f"probability must be above 0 and at most 1, not {probability!r}")
    if "where" in given and not callable(given["where"]):
        raise TypeError(f"where must be a function of a packet, not {given['where']!r}")


# The tests of each packet


def _tests(given: dict[str, Any], networks: dict[str, Network]) -> list[Test]:
    """Return what a packet must pass, the cheapest first."""
    tests: list[Test] = []
    if given["protocol"] is not None:
        tests.append(_has_protocol(given["protocol"]))
    tests += [_has_port(name, given[name]) for name in _PORTS if name in given]
    tests += [_has_address(name, network) for name, network in networks.items()]
    if "flags" in given:
        tests.append(_has_flags(given["flags"]))
    if "state" in given:
        tests.append(_has_state(given["state"]))
    if "octets" in given:
        tests.append(_has_octets(given["octets"]))
    return tests


def _has_protocol(name: str) -> Test:
    return lambda packet: packet.protocol == name


def _has_port(name: str, port: int) -> Test:
    end = name.removesuffix("_port")

    def test(packet: Packet) -> bool:
        ports = packet.ports
        return ports is not None and ports[_is_destination(end, packet.direction)] == port

    return test


def _has_address(end: str, network: Network) -> Test:
    def test(packet: Packet) -> bool:
        if packet.version != network.version:
            return False
        second = _is_destination(end, packet.direction)
        return (packet.destination if second else packet.source) in network

    return test


def _is_destination(end: str, direction: Direction) -> bool:
    """Whether an end by its name in a selection is the destination of a packet."""
    return end == "destination" or end == _MEANS[direction]["destination"]


def _has_flags(text: str) -> Test:
    wanted, unwanted = flag_test(text)

    def test(packet: Packet) -> bool:
        bits = packet.flag_bits
        return bits is not None and bits & wanted == wanted and not bits & unwanted

    return test


def _has_state(state: object) -> Test:
    if isinstance(state, str):
        names = state.split(",")
    else:
        names = [*state] if isinstance(state, Iterable) else [repr(state)]
    states = {str(name).strip().upper().replace("_", "-") for name in names}
    if not states or states - _STATES:
        raise ValueError(
            f"a packet's connection is in {', '.join(sorted(_STATES))}, not in"
            f" {', '.join(sorted(states - _STATES)) or 'none'}"
        )
    return lambda packet: packet.state in states


def _has_octets(octets: tuple[int, int] | range) -> Test:
    try:
        ends = (octets.start, octets.stop) if isinstance(octets, range) else octets
        start, stop = ends
    except (TypeError, ValueError):
        raise ValueError(f"octets must be (start, stop) or a range, not {octets!r}") from None
    if isinstance(octets, range) and octets.step != 1:
        raise ValueError(f"octets must follow each other, not be {octets!r}")
    if not (is_whole(start) and is_whole(stop) and 0 <= start < stop):
        raise ValueError(f"octets must be some from 0 on, not {octets!r}")

    def test(packet: Packet) -> bool:
        if not packet.payload:
            return False
        offset = packet.offset
        return offset is not None and offset < stop and start < offset + len(packet.payload)

    return test


__all__ = ["Matcher", "Selection", "key_of"]
