"""The resolver over a host's own UDP and TCP."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest
import trio

from tests.resolver.network import addresses, network, scripted
from tunstack import Host, Names, memory_pair

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio.testing import MockClock

STREAM = socket.SOCK_STREAM


def fails(number: int) -> Any:
    return pytest.raises(socket.gaierror, check=lambda error: error.errno == number)


async def test_both_families_are_found_that_of_ipv6_first() -> None:
    async with network() as (_, resolver, _, _):
        assert await resolver.getaddrinfo("www.test", 80, type=STREAM) == [
            (socket.AF_INET6, STREAM, 6, "", ("2001:db8::9", 80, 0, 0)),
            (socket.AF_INET, STREAM, 6, "", ("198.51.100.9", 80)),
        ]


async def test_both_families_are_asked_for_at_once(autojump_clock: MockClock) -> None:
    async with network(faults={"www.test": "delay:0.5"}) as (_, resolver, _, _):
        start = trio.current_time()
        assert len(await resolver.getaddrinfo("www.test", 80, type=STREAM)) == 2
        assert 0.5 <= trio.current_time() - start < 0.9


async def test_the_types_of_sockets_are_those_of_getaddrinfo() -> None:
    async with network() as (_, resolver, _, _):
        for type, port in ((0, 80), (STREAM, "http"), (socket.SOCK_DGRAM, b"53"), (0, None)):
            expected = socket.getaddrinfo("198.51.100.4", port, type=type)
            assert await resolver.getaddrinfo("four.test", port, type=type) == expected


@pytest.mark.parametrize(
    ("name", "family", "flags", "expected"),
    [
        ("www.test", socket.AF_INET, 0, ["198.51.100.9"]),
        ("www.test", socket.AF_INET6, 0, ["2001:db8::9"]),
        ("four.test", 0, 0, ["198.51.100.4"]),
        ("alias.test", 0, 0, ["2001:db8::9", "198.51.100.9"]),
        ("WWW.TEST.", socket.AF_INET, 0, ["198.51.100.9"]),
        ("four.test", socket.AF_INET6, socket.AI_V4MAPPED, ["::ffff:198.51.100.4"]),
        ("www.test", socket.AF_INET6, socket.AI_V4MAPPED, ["2001:db8::9"]),
        (
            "www.test",
            socket.AF_INET6,
            socket.AI_V4MAPPED | socket.AI_ALL,
            ["2001:db8::9", "::ffff:198.51.100.9"],
        ),
        ("localhost", 0, 0, ["127.0.0.1", "::1"]),
        ("a.localhost", socket.AF_INET, 0, ["127.0.0.1"]),
        ("203.0.113.7", 0, 0, ["203.0.113.7"]),
        ("2001:db8::7", 0, 0, ["2001:db8::7"]),
        (None, socket.AF_INET, socket.AI_PASSIVE, ["0.0.0.0"]),
    ],
)
async def test_names_families_and_flags(
    name: str | None, family: int, flags: int, expected: list[str]
) -> None:
    async with network() as (_, resolver, _, _):
        found = await resolver.getaddrinfo(name, 80, family, STREAM, flags=flags)
        assert addresses(found) == expected
        if name is not None and ("host" in name or name[0] == "2"):
            assert resolver.statistics() == {}  # Nobody was asked.


@pytest.mark.parametrize(
    ("name", "family", "flags", "number"),
    [
        ("nosuch.test", 0, 0, socket.EAI_NONAME),
        ("text.test", 0, 0, socket.EAI_NODATA),
        ("four.test", socket.AF_INET6, 0, socket.EAI_NODATA),
        ("example.org", 0, 0, socket.EAI_AGAIN),
        ("loop.test", 0, 0, socket.EAI_AGAIN),
        ("www.test", socket.AF_UNIX, 0, socket.EAI_FAMILY),
        ("www.test", 0, socket.AI_NUMERICHOST, socket.EAI_NONAME),
        ("a..test", 0, 0, socket.EAI_NONAME),
        ("a" * 64 + ".test", 0, 0, socket.EAI_NONAME),
        (".", 0, 0, socket.EAI_NONAME),
        (b"\xff", 0, 0, socket.EAI_NONAME),
    ],
)
async def test_errors_are_those_of_getaddrinfo(
    name: str | bytes, family: int, flags: int, number: int
) -> None:
    async with network() as (_, resolver, _, _):
        with fails(number):
            await resolver.getaddrinfo(name, 80, family, STREAM, flags=flags)


async def test_an_unknown_service_is_an_error_before_anybody_is_asked() -> None:
    async with network() as (_, resolver, _, _):
        with fails(socket.EAI_SERVICE):
            await resolver.getaddrinfo("www.test", "no-such-service", type=STREAM)
        assert resolver.statistics() == {}


async def test_the_canonical_name() -> None:
    async with network() as (_, resolver, _, _):
        flags = socket.AI_CANONNAME
        found = await resolver.getaddrinfo("alias.test", 80, type=STREAM, flags=flags)
        assert [each[3] for each in found] == ["www.test", ""]


async def test_addrconfig_leaves_out_families_that_the_host_lacks() -> None:
    async with network(ours=("198.51.100.2",)) as (_, resolver, _, server):
        flags = socket.AI_ADDRCONFIG
        found = await resolver.getaddrinfo("www.test", 80, type=STREAM, flags=flags)
        assert addresses(found) == ["198.51.100.9"]
        assert server.statistics()["queries_udp"] == 1


async def test_a_name_that_is_not_ascii_is_asked_for_in_its_ascii_form() -> None:
    async with network({"xn--bcher-kva.test": "198.51.100.7"}) as (_, resolver, _, _):
        found = await resolver.getaddrinfo("b\N{LATIN SMALL LETTER U WITH DIAERESIS}cher.test", 80)
        assert addresses(found) == ["198.51.100.7"]


async def test_addresses_have_names() -> None:
    async with network() as (_, resolver, _, _):
        assert await resolver.getnameinfo(("198.51.100.4", 80), 0) == ("four.test", "http")
        numeric = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
        assert await resolver.getnameinfo(("2001:db8::6", 80), numeric) == ("2001:db8::6", "80")
        assert (await resolver.getnameinfo(("198.51.100.77", 80), 0))[0] == "198.51.100.77"
        with fails(socket.EAI_NONAME):
            await resolver.getnameinfo(("198.51.100.77", 80), socket.NI_NAMEREQD)


# The exchange


async def test_what_is_truncated_is_asked_for_over_tcp() -> None:
    async with network() as (_, resolver, _, _):
        found = await resolver.getaddrinfo("big.test", 80, socket.AF_INET, STREAM)
        assert len(found) == 100
        assert resolver.statistics() == {"queries_udp": 1, "truncated": 1, "queries_tcp": 1}


async def test_a_query_that_is_lost_is_sent_again(autojump_clock: MockClock) -> None:
    async with network(faults={"four.test": "no-answer:2"}, rounds=2) as (_, resolver, _, _):
        start = trio.current_time()
        found = await resolver.getaddrinfo("four.test", 80, socket.AF_INET, STREAM)
        assert addresses(found) == ["198.51.100.4"]
        assert 2 <= trio.current_time() - start < 2.5  # A second at each of two servers.
        assert resolver.statistics() == {"queries_udp": 3, "timeouts": 2}


async def test_each_round_waits_twice_as_long_and_the_last_is_the_end(
    autojump_clock: MockClock,
) -> None:
    async with network(faults={"four.test": "no-answer"}) as (host, _, _, _):
        resolver = host.use_nameservers("198.51.100.1", timeout=1, rounds=3)
        start = trio.current_time()
        with fails(socket.EAI_AGAIN):
            await resolver.getaddrinfo("four.test", 80, socket.AF_INET, STREAM)
        assert 7 <= trio.current_time() - start < 7.5


async def test_without_a_name_server_the_refusal_is_not_waited_for() -> None:
    left, right = memory_pair()
    async with Host(left, ["198.51.100.2/24"]) as host, Host(right, ["198.51.100.1/24"]):
        resolver = host.use_nameservers()
        with trio.fail_after(1), fails(socket.EAI_AGAIN):
            await resolver.getaddrinfo("www.test", 80, type=STREAM)
        assert resolver.statistics()["unreachable"] == 6


async def test_servfail_is_asked_again_and_refused_is_not() -> None:
    faults = {"four.test": "servfail:3", "www.test": "refused"}
    async with network(faults=faults) as (_, resolver, _, _):
        found = await resolver.getaddrinfo("four.test", 80, socket.AF_INET, STREAM)
        assert addresses(found) == ["198.51.100.4"]
        with fails(socket.EAI_AGAIN):
            await resolver.getaddrinfo("www.test", 80, socket.AF_INET, STREAM)
        assert resolver.statistics() == {"queries_udp": 6, "servfail": 3, "refused": 2}


async def test_one_family_without_an_answer_does_not_cost_the_other(
    autojump_clock: MockClock,
) -> None:
    def reply(query: bytes) -> list[bytes]:
        message = dns.message.from_wire(query)
        return [answered(query)] if message.question[0].rdtype == dns.rdatatype.A else []

    async with scripted(reply, rounds=1) as (_, resolver, _, _):
        found = await resolver.getaddrinfo("www.test", 80, type=STREAM)
        assert addresses(found) == ["198.51.100.9"]


async def test_a_cancelled_look_up_leaves_no_socket(autojump_clock: MockClock) -> None:
    """A late answer meets no port."""
    async with network(faults={"*": "delay:0.5"}) as (host, resolver, _, _):
        with trio.move_on_after(0.1) as scope:
            await resolver.getaddrinfo("www.test", 80)
        assert scope.cancelled_caught
        await trio.sleep(1)
        assert host.statistics()["no_udp_port"] == 2


# Answers that are none


def answered(query: bytes, name: str | None = None, **changed: Any) -> bytes:
    """The right answer to a query, but for what is changed."""
    message = dns.message.from_wire(query)
    reply = dns.message.make_response(message)
    owner = message.question[0].name
    reply.answer.append(dns.rrset.from_text(owner, 60, "IN", "A", "198.51.100.9"))
    if name is not None:
        reply.question[0].name = dns.name.from_text(name)
    for attribute, value in changed.items():
        setattr(reply, attribute, value)
    octets: bytes = reply.to_wire()
    return octets


WRONG: dict[str, Callable[[bytes], bytes]] = {
    "another id": lambda query: bytes([query[0] ^ 1]) + answered(query)[1:],
    "another name": lambda query: answered(query, "other.test"),
    "another type": lambda query: answered(query).replace(b"\0\1\0\1", b"\0\x1c\0\1", 1),
    "no reply": lambda query: query,
    "cut": lambda query: answered(query)[:-3],
    "nothing": lambda query: b"",
    "two questions": lambda query: query[:4] + b"\0\2" + query[6:],
    "a loop of pointers": lambda query: query[:2] + b"\x80\0\0\1\0\0\0\0\0\0\xc0\x0c\0\1\0\1",
    "noise": lambda query: query[:2] + b"\xff" * 40,
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG.keys())
async def test_a_wrong_answer_is_passed_over_for_the_right_one(
    wrong: Callable[[bytes], bytes],
) -> None:
    async with scripted(lambda query: [wrong(query), answered(query)]) as (_, resolver, _, _):
        found = await resolver.getaddrinfo("www.test", 80, socket.AF_INET, STREAM)
        assert addresses(found) == ["198.51.100.9"]
        assert resolver.statistics() == {"queries_udp": 1, "wrong_answers": 1}


async def test_an_answer_from_elsewhere_is_not_seen(autojump_clock: MockClock) -> None:
    """Though all is right but its source port."""
    elsewhere = scripted(lambda query: [answered(query)], reply_port=5353, rounds=1)
    async with elsewhere as (host, resolver, _, _):
        with fails(socket.EAI_AGAIN):
            await resolver.getaddrinfo("www.test", 80, socket.AF_INET, STREAM)
        assert resolver.statistics() == {"queries_udp": 1, "timeouts": 1}
        assert host.statistics()["no_udp_port"] == 1


async def test_after_twenty_guesses_tcp_is_asked() -> None:
    def guesses(query: bytes) -> list[bytes]:
        return [bytes([query[0] ^ 1, number]) + answered(query)[2:] for number in range(30)]

    async def serve(stream: trio.SocketStream) -> None:
        octets = answered((await stream.receive_some())[2:])
        await stream.send_all(len(octets).to_bytes(2, "big") + octets)

    async with (
        scripted(guesses, rounds=1) as (_, resolver, other, _),
        trio.open_nursery() as nursery,
    ):
        await nursery.start(other.serve_tcp, serve, 53)
        found = await resolver.getaddrinfo("www.test", 80, socket.AF_INET, STREAM)
        assert addresses(found) == ["198.51.100.9"]
        assert resolver.statistics()["wrong_answers"] == 20
        nursery.cancel_scope.cancel()


async def test_the_case_of_letters_is_random_and_must_come_back() -> None:
    cases = set()

    def in_lower_case(query: bytes) -> list[bytes]:
        name = dns.message.from_wire(query).question[0].name
        cases.add(name.labels)
        return [answered(query, str(name).lower())]

    names = [f"abcdefghij{number}.test" for number in range(8)]
    async with scripted(in_lower_case, rounds=1) as (_, resolver, _, _):
        for name in names:
            with fails(socket.EAI_AGAIN):  # TCP, which would be asked then, is refused.
                await resolver.getaddrinfo(name, 80, socket.AF_INET, STREAM)
        assert len({labels[0][:10] for labels in cases}) == 8
        assert resolver.statistics()["queries_tcp"] == 8


async def test_ids_and_ports_are_random() -> None:
    seen = set()

    def reply(query: bytes) -> list[bytes]:
        seen.add(query[:2])
        return [answered(query)]

    sources: list[Any] = []
    async with scripted(reply, sources=sources) as (_, resolver, _, _):
        for number in range(20):
            await resolver.getaddrinfo(f"n{number}.test", 80, socket.AF_INET, STREAM)
    assert len(seen) == 20
    ports = [source[1] for source in sources]
    assert len(set(ports)) > 18
    assert ports != sorted(ports)


async def test_a_server_without_edns_is_asked_without() -> None:
    def reply(query: bytes) -> list[bytes]:
        message = dns.message.from_wire(query)
        if message.edns >= 0:
            return [query[:2] + b"\x80\1" + bytes(8)]  # FORMERR, and no more than a header.
        return [answered(query)]

    async with scripted(reply) as (_, resolver, _, _):
        found = await resolver.getaddrinfo("www.test", 80, socket.AF_INET, STREAM)
        assert addresses(found) == ["198.51.100.9"]


async def test_records_that_were_not_asked_for_are_not_looked_at() -> None:
    def reply(query: bytes) -> list[bytes]:
        message = dns.message.from_wire(query)
        response = dns.message.make_response(message)
        response.answer = [dns.rrset.from_text("other.test.", 60, "IN", "A", "203.0.113.66")]
        return [response.to_wire()]

    async with scripted(reply, rounds=1) as (_, resolver, _, _):
        for name in ("www.test", "other.test"):
            if name == "www.test":
                with fails(socket.EAI_AGAIN):
                    await resolver.getaddrinfo(name, 80, socket.AF_INET, STREAM)
            else:
                await resolver.getaddrinfo(name, 80, socket.AF_INET, STREAM)
        assert "cache_hits" not in resolver.statistics()


async def test_an_alias_to_another_servers_name_is_asked_for_again() -> None:
    def reply(query: bytes) -> list[bytes]:
        message = dns.message.from_wire(query)
        response = dns.message.make_response(message)
        name = message.question[0].name
        if name.labels[0].lower() == b"www":
            response.answer = [dns.rrset.from_text(name, 60, "IN", "CNAME", "far.example.")]
        else:
            response.answer = [dns.rrset.from_text(name, 60, "IN", "A", "203.0.113.5")]
        return [response.to_wire()]

    async with scripted(reply) as (_, resolver, _, _):
        found = await resolver.getaddrinfo("www.test", 80, socket.AF_INET, STREAM)
        assert addresses(found) == ["203.0.113.5"]
        assert resolver.statistics() == {"queries_udp": 2}


# The cache


async def test_an_answer_is_kept_for_its_ttl(autojump_clock: MockClock) -> None:
    async with network(ttl=30) as (_, resolver, _, server):
        for wait, queries in ((0, 1), (29, 1), (2, 2)):
            await trio.sleep(wait)
            await resolver.getaddrinfo("four.test", 80, socket.AF_INET, STREAM)
            assert server.statistics()["queries_udp"] == queries
        assert resolver.statistics()["cache_hits"] == 1


@pytest.mark.parametrize("name", ["nosuch.test", "text.test"])
async def test_a_negative_answer_is_kept_as_its_soa_says(
    name: str, autojump_clock: MockClock
) -> None:
    """RFC 2308."""
    async with network(ttl=30) as (_, resolver, _, server):
        for wait, queries in ((0, 1), (29, 1), (2, 2)):
            await trio.sleep(wait)
            with pytest.raises(socket.gaierror):
                await resolver.getaddrinfo(name, 80, socket.AF_INET, STREAM)
            assert server.statistics()["queries_udp"] == queries


async def test_an_error_is_not_kept() -> None:
    async with network(faults={"four.test": "servfail:6"}) as (_, resolver, _, _):
        with fails(socket.EAI_AGAIN):
            await resolver.getaddrinfo("four.test", 80, socket.AF_INET, STREAM)
        assert await resolver.getaddrinfo("four.test", 80, socket.AF_INET, STREAM)


# In use


async def test_the_host_connects_by_name() -> None:
    names = {"server.test": ["198.51.100.1", "2001:db8::1"]}
    async with network(names) as (host, _, other, _), trio.open_nursery() as nursery:

        async def greet(stream: trio.SocketStream) -> None:
            await stream.send_all(b"hello")

        await nursery.start(other.serve_tcp, greet, 7777)
        async with await host.open_tcp_stream("server.test", 7777) as stream:
            assert stream.socket.getpeername()[0] == "2001:db8::1"
            assert await stream.receive_some() == b"hello"
        with host.socket() as sock:
            await sock.connect(("server.test", 7777))
        with host.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
            await datagrams.connect(("server.test", 7777))
            assert datagrams.getpeername() == ("198.51.100.1", 7777)
        with host.socket_factory():
            async with await trio.open_tcp_stream("server.test", 7777) as trios:
                assert await trios.receive_some() == b"hello"
            found = await trio.socket.getaddrinfo("server.test", 80, type=STREAM)
            assert addresses(found) == ["2001:db8::1", "198.51.100.1"]
        nursery.cancel_scope.cancel()


async def test_the_resolver_of_before_is_trios_again_after_the_block() -> None:
    class Before(trio.abc.HostnameResolver):
        async def getaddrinfo(self, *args: Any, **options: Any) -> Any:
            return ["before"]

        async def getnameinfo(self, *args: Any) -> Any:
            return None

    trio.socket.set_custom_hostname_resolver(Before())
    async with network() as (host, _, _, _):
        for _ in range(2):
            with host.socket_factory():
                assert len(await trio.socket.getaddrinfo("www.test", 80, type=STREAM)) == 2
            found: list[Any] = await trio.socket.getaddrinfo("www.test", 80)
            assert found == ["before"]


async def test_names_that_are_known_are_asked_for_nowhere() -> None:
    async with network() as (host, _, _, server):
        resolver = host.use_nameservers(names=Names({"mine.example": "203.0.113.8"}))
        assert addresses(await resolver.getaddrinfo("mine.example", 80)) == ["203.0.113.8"]
        with fails(socket.EAI_NONAME):
            await resolver.getaddrinfo("www.test", 80)
        assert server.statistics() == {}
        assert resolver.statistics()["known_names"] == 4


async def test_what_is_no_address_of_a_name_server_is_refused() -> None:
    async with network() as (host, _, _, _):
        with pytest.raises(ValueError, match="'ns'"):
            host.use_nameservers("ns")


@pytest.mark.parametrize(
    ("addresses", "expected"),
    [
        (("198.51.100.1/24", "2001:db8::2/64"), ("198.51.100.2", "2001:db8::1")),
        (("198.51.100.1/24", "198.51.100.2/24"), ("198.51.100.3",)),
        (("198.51.100.6/31",), ("198.51.100.7",)),
        (("198.51.100.9/32", "2001:db8::9/128"), ()),
    ],
)
async def test_the_default_name_servers_are_the_neighbours(
    addresses: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    left, _ = memory_pair()
    async with Host(left, addresses) as host:
        assert host.resolver is None
        resolver = host.use_nameservers()
        assert resolver.nameservers == expected
        assert host.resolver is resolver


async def test_without_any_name_server_no_name_is_found() -> None:
    left, _ = memory_pair()
    async with Host(left, ["198.51.100.9/32"]) as host:
        with fails(socket.EAI_AGAIN):
            await host.use_nameservers().getaddrinfo("www.test", 80)
