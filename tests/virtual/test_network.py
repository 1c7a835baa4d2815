"""A network's hosts: their addresses, names and programs, and how they end."""

from __future__ import annotations

import errno
import socket
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio

import tunstack
from tests.virtual.programs import ask, echo, serve_echo

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from tunstack import Host, Network, Observation

in_virtual_time = pytest.mark.trio(run=tunstack.run_virtual)


# Addresses


@in_virtual_time
async def test_addresses_of_both_families_are_given_out() -> None:
    async with tunstack.open_network() as net:
        one, two = [await net.add_host(name) for name in ("one", "two")]
        assert [str(each) for each in one.addresses] == ["198.51.100.1/24", "2001:db8::1/64"]
        assert [str(each) for each in two.addresses] == ["198.51.100.2/24", "2001:db8::2/64"]
        assert net.hosts == {"one": one, "two": two}
        assert net.host("two") is two


@in_virtual_time
async def test_addresses_can_be_named_and_are_not_given_out_again() -> None:
    async with tunstack.open_network("203.0.113.0/24", "2001:db8:1::/48") as net:
        server = await net.add_host("server", "203.0.113.1")
        other = await net.add_host("other")
        assert [str(each) for each in server.addresses] == ["203.0.113.1/24"]
        assert [str(each) for each in other.addresses] == ["203.0.113.2/24", "2001:db8:1::1/48"]


@in_virtual_time
async def test_a_host_can_have_a_part_of_the_network() -> None:
    async with tunstack.open_network() as net:
        await net.add_host("crowd", "198.51.100.128/25")
        client = await net.add_host("client")
        await net.start("crowd", serve_echo)
        with client.socket_factory():
            assert await ask("198.51.100.200") == b"hello"


@in_virtual_time
async def test_a_small_mtu_leaves_ipv4() -> None:
    async with tunstack.open_network(mtu=600) as net:
        host = await net.add_host("small")
        assert [str(each) for each in host.addresses] == ["198.51.100.1/24"]
        await net.add_host("other")
        await net.start("other", serve_echo)
        with host.socket_factory():
            assert await ask("other", bytes(5000)) == bytes(5000)


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (("there",), "there is a host 'there' already"),
        (("THERE",), "there is a host 'there' already"),
        (("new", "198.51.100.1"), "198.51.100.1 is in use: there has 198.51.100.1"),
        (("new", "198.51.100.0/25"), "198.51.100.0/25 is in use: there has 198.51.100.1"),
        (("new", "203.0.113.1"), "203.0.113.1 is outside 198.51.100.0/24 and 2001:db8::/64"),
        (("new", "203.0.113.1/24"), "203.0.113.1 is outside 198.51.100.0/24 and 2001:db8::/64"),
        (("new", "fe80::1"), "fe80::1 is outside 198.51.100.0/24 and 2001:db8::/64"),
        (
            ("new", "198.51.100.7", "198.51.100.7"),
            "198.51.100.7/24 overlaps with 198.51.100.7/24: leave one of them out",
        ),
        (("new", "server"), "'server' is no IP address: write it as 198.51.100.2"),
        (
            ("two words",),
            "'two words' is no host name: write it as 'server' or 'api.example.test'",
        ),
        (("",), "'' is no host name: write it as 'server' or 'api.example.test'"),
        (
            ("198.51.100.7",),
            "'198.51.100.7' is no host name: write it as 'server' or 'api.example.test'",
        ),
        (
            ("localhost",),
            "'localhost' is no host name: write it as 'server' or 'api.example.test'",
        ),
    ],
)
@in_virtual_time
async def test_a_host_that_cannot_be_is_refused_in_one_line(
    wanted: tuple[str, ...], said: str
) -> None:
    async with tunstack.open_network() as net:
        await net.add_host("there")
        with pytest.raises(ValueError, match=r".") as raised:
            await net.add_host(*wanted)
        assert str(raised.value) == said
        assert [*net.hosts] == ["there"]
        new = await net.add_host("new")
        assert str(new.addresses[0]) == "198.51.100.2/24"


@in_virtual_time
async def test_a_network_runs_out_of_addresses() -> None:
    async with tunstack.open_network("198.51.100.0/30") as net:
        await net.add_host("one")
        await net.add_host("two")
        with pytest.raises(ValueError, match=r"no address of 198\.51\.100\.0/30 is free"):
            await net.add_host("three")


@pytest.mark.parametrize(
    ("arguments", "options", "said"),
    [
        (("198.51.100.1/24",), {}, "the network 198.51.100.1/24: .* has host bits set"),
        (("198.51.100.0/24", "198.51.100.128/25"), {}, "198.51.100.128/25 overlaps with .*/24"),
        ((), {"mtu": 60}, "MTU 60 is out of range: choose one from 68 to 65535"),
        ((), {"link": "delay=x"}, "delay must be a time in s, ms or us"),
        ((), {"link": "out:delay=1s"}, "tells the two directions apart: give one only"),
    ],
)
def test_a_network_that_cannot_be_is_refused_in_one_line(
    arguments: tuple[str, ...], options: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        tunstack.open_network(*arguments, **options)


# Names


@in_virtual_time
async def test_hosts_find_each_other_by_name() -> None:
    async with tunstack.open_network() as net:
        client = await net.add_host("client")
        server = await net.add_host("server", aliases=["api.example.test"])
        await net.start(server, serve_echo)
        with client.socket_factory():
            for name in ("server", "Server.", "api.example.test", "2001:db8::2", "198.51.100.2"):
                assert await ask(name) == b"hello"
        stream = await client.open_tcp_stream("server", 7)  # And by the host's own means.
        await stream.aclose()
        sock = client.socket(socket.AF_INET, socket.SOCK_DGRAM)
        await sock.connect(("server", 53))
        assert sock.getpeername() == ("198.51.100.2", 53)


async def looked_up(*arguments: Any) -> list[str]:
    return [str(each[4][0]) for each in await trio.socket.getaddrinfo(*arguments)]


@in_virtual_time
async def test_look_ups_are_those_of_getaddrinfo() -> None:
    v4, v6, stream = socket.AF_INET, socket.AF_INET6, socket.SOCK_STREAM
    mapped, canonical = socket.AI_V4MAPPED, socket.AI_CANONNAME
    async with tunstack.open_network() as net:
        client = await net.add_host("client")
        await net.add_host("both", "198.51.100.7", "2001:db8::7")
        await net.add_host("old", "198.51.100.8")
        with client.socket_factory():
            assert await looked_up("both", 80, 0, stream) == ["2001:db8::7", "198.51.100.7"]
            assert await looked_up("both", 80, v4, stream) == ["198.51.100.7"]
            assert await looked_up("both", 80, v6, stream) == ["2001:db8::7"]
            assert await looked_up("old", 80, v6, stream, 0, mapped) == ["::ffff:198.51.100.8"]
            assert await looked_up(None, 80, v4, stream) == ["127.0.0.1"]
            assert await looked_up("localhost", 80, v4, stream) == ["198.51.100.1"]
            (found,) = await trio.socket.getaddrinfo("old", "http", 0, stream, 0, canonical)
            assert found == (v4, stream, socket.IPPROTO_TCP, "old", ("198.51.100.8", 80))
            name_of, numeric = trio.socket.getnameinfo, socket.NI_NUMERICHOST
            assert await name_of(("198.51.100.8", 80), 0) == ("old", "http")
            assert await name_of(("198.51.100.9", 80), 0) == ("198.51.100.9", "http")
            assert await name_of(("198.51.100.8", 80), numeric) == ("198.51.100.8", "http")


@pytest.mark.parametrize(
    ("arguments", "number"),
    [
        (("nowhere", 80), socket.EAI_NONAME),
        (("old", 80, socket.AF_INET6), socket.EAI_NODATA),
        (("", 80), socket.EAI_NONAME),
        (("old.nowhere", 80), socket.EAI_NONAME),
        (("old", "nosuchservice"), socket.EAI_SERVICE),
        (("old", 80, 0, 0, 0, socket.AI_NUMERICHOST), socket.EAI_NONAME),
    ],
)
@in_virtual_time
async def test_a_name_that_is_not_there(arguments: tuple[Any, ...], number: int) -> None:
    async with tunstack.open_network() as net:
        client = await net.add_host("client")
        await net.add_host("old", "198.51.100.8")
        with client.socket_factory(), pytest.raises(socket.gaierror) as raised:
            await looked_up(*arguments)
        assert raised.value.errno == number
        with client.socket_factory(), pytest.raises(socket.gaierror) as raised:
            await trio.socket.getnameinfo(("198.51.100.99", 80), socket.NI_NAMEREQD)
        assert raised.value.errno == socket.EAI_NONAME


@in_virtual_time
async def test_a_host_with_ipv4_alone_is_told_no_other_addresses() -> None:
    async with tunstack.open_network() as net:
        client = await net.add_host("client", "198.51.100.1")
        await net.add_host("server")
        with client.socket_factory():
            assert await looked_up("server", 80, 0, socket.SOCK_STREAM) == ["198.51.100.2"]


@in_virtual_time
async def test_further_names_can_be_given() -> None:
    names = {"www.test": "198.51.100.9", "alias.test": "CNAME www.test"}
    async with tunstack.open_network(names=names) as net:
        client = await net.add_host("client")
        await net.add_host("server", "198.51.100.9")
        with client.socket_factory():
            for name in ("www.test", "alias.test"):
                assert await looked_up(name, 80, 0, socket.SOCK_STREAM) == ["198.51.100.9"]
            with pytest.raises(socket.gaierror):
                await looked_up("other.test", 80)


@in_virtual_time
async def test_a_program_reaches_itself_as_localhost() -> None:
    async with tunstack.open_network() as net:
        host = await net.add_host("host")
        await net.start(host, serve_echo)
        with host.socket_factory():
            assert await ask("localhost") == b"hello"


# Programs


@in_virtual_time
async def test_each_program_is_on_its_host_and_so_are_its_tasks() -> None:
    seen: dict[str, set[str]] = {}

    async def program(name: str) -> None:
        async def child() -> None:
            await trio.sleep(1)
            sock = trio.socket.socket(type=trio.socket.SOCK_DGRAM)
            await sock.connect(("198.51.100.99", 9))
            seen.setdefault(name, set()).add(sock.getsockname()[0])

        await child()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child)
            nursery.start_soon(child)

    async with tunstack.open_network() as net:
        for name in ("one", "two", "three"):
            await net.add_host(name)
            net.start_soon(name, program, name)
        await trio.sleep(3)
    assert seen == {"one": {"198.51.100.1"}, "two": {"198.51.100.2"}, "three": {"198.51.100.3"}}


@in_virtual_time
async def test_blocks_of_two_hosts_in_two_tasks_do_not_meet() -> None:
    async with tunstack.open_network() as net:
        one, two = await net.add_host("one"), await net.add_host("two")

        async def own_address(host: Host, wait: float) -> None:
            with host.socket_factory():
                await trio.sleep(wait)
                sock = trio.socket.socket(type=trio.socket.SOCK_DGRAM)
                await sock.connect(("198.51.100.99", 9))
                assert sock.getsockname()[0] == str(host.addresses[0].ip)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(own_address, one, 1)  # It ends before the one that began later.
            nursery.start_soon(own_address, two, 2)


@in_virtual_time
async def test_a_task_on_no_host_has_no_sockets() -> None:
    async with tunstack.open_network() as net:
        await net.add_host("server")
        attempts: list[Callable[[], Any]] = [
            partial(trio.open_tcp_stream, "server", 7),
            partial(trio.open_tcp_listeners, 7, host="server"),
            partial(trio.socket.getnameinfo, ("198.51.100.1", 7), 0),
        ]
        for attempt in attempts:
            with pytest.raises(OSError, match="this task is on no host") as raised:
                await attempt()
            assert raised.value.errno == errno.ENETUNREACH
        for make in (trio.socket.socket, socket.socket):
            with pytest.raises(OSError, match="this task is on no host"):
                make()
        for sock in socket.socketpair():
            sock.close()


@in_virtual_time
async def test_what_a_program_passes_to_started_is_returned() -> None:
    async with tunstack.open_network() as net:
        host = await net.add_host("host")
        (listener, _) = await net.start(host, partial(trio.serve_tcp, echo), 0)
        assert listener.socket.getsockname()[1] > 1023


@in_virtual_time
async def test_an_exception_before_it_has_started_is_the_callers() -> None:
    async def fail(*, task_status: object) -> None:
        raise KeyError

    async with tunstack.open_network() as net:
        host = await net.add_host("host")
        with pytest.raises(KeyError):
            await net.start(host, fail)


class Mishap(Exception):
    pass


async def mishap() -> None:
    await trio.lowlevel.checkpoint()
    raise Mishap


async def run(
    program: Callable[[], Awaitable[object]],
    *,
    block: Callable[[], Awaitable[object]] = trio.sleep_forever,
    tap: Callable[[Observation], None] | None = None,
) -> None:
    """A network with one host, on which a program runs; and so does the block itself."""
    async with tunstack.open_network() as net:
        host = await net.add_host("host", tap=tap)
        net.start_soon(host, program)
        with host.socket_factory():
            await block()


async def test_an_exception_of_a_program_ends_the_block(autojump_clock: object) -> None:
    with pytest.raises(Mishap):
        await run(mishap)


@in_virtual_time
async def test_so_does_one_of_a_tap() -> None:
    def tap(observation: Observation) -> None:
        raise Mishap

    with pytest.raises(Mishap):
        await run(trio.sleep_forever, block=partial(ask, "198.51.100.99"), tap=tap)


@in_virtual_time
async def test_several_exceptions_are_a_group() -> None:
    async def block() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise KeyError

    with pytest.RaisesGroup(Mishap, KeyError):
        await run(mishap, block=block)


@in_virtual_time
async def test_a_failed_assertion_of_pytest_comes_out_too() -> None:
    async def program() -> None:
        pytest.fail("as expected")

    with pytest.raises(pytest.fail.Exception, match="as expected"):
        await run(program)


@in_virtual_time
async def test_the_blocks_own_exception_comes_out_as_it_is() -> None:
    with pytest.raises(Mishap):
        await run(trio.sleep_forever, block=mishap)


@in_virtual_time
async def test_a_cancelled_block_ends() -> None:
    with trio.move_on_after(1) as scope:
        async with tunstack.open_network() as net:
            await net.start(await net.add_host("server"), serve_echo)
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert trio.current_time() == 1


@in_virtual_time
async def test_at_the_end_programs_are_cancelled_and_connections_closed() -> None:
    ended = []

    async def hold_open() -> None:
        try:
            async with await trio.open_tcp_stream("server", 7):
                await trio.sleep_forever()
        finally:
            ended.append(trio.current_time())

    seen: list[Observation] = []
    async with tunstack.open_network() as net:
        server = await net.add_host("server", "198.51.100.9", tap=seen.append)
        await net.start(server, serve_echo)
        net.start_soon(await net.add_host("client"), hold_open)
        await trio.sleep(5)
    assert ended == [5]
    assert seen[-1].packet[33] & 0x04 == 0  # No RST.
    assert any(each.packet[33] & 0x01 for each in seen)


@in_virtual_time
async def test_a_network_is_open_once() -> None:
    net = tunstack.open_network()
    with pytest.raises(RuntimeError, match="the network is not open: use `async with`"):
        await net.add_host("host")
    async with net:
        await net.add_host("host")
        with pytest.raises(RuntimeError, match="a network can be opened once"):
            await net.__aenter__()
    with pytest.raises(RuntimeError, match="the network has ended"):
        await net.add_host("other")


@pytest.fixture
async def net() -> AsyncIterator[Network]:
    async with tunstack.open_network() as net:
        yield net


@pytest.fixture
async def server(net: Network) -> Host:
    host = await net.add_host("server")
    await net.start(host, serve_echo)
    return host


@in_virtual_time
async def test_networks_and_hosts_can_be_fixtures_of_pytest_trio(
    net: Network, server: Host
) -> None:
    client = await net.add_host("client")
    with client.socket_factory():
        assert await ask("server") == b"hello"


def test_an_exception_of_a_program_fails_a_test_with_fixtures(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest
        import trio
        import tunstack

        @pytest.fixture
        async def net():
            async with tunstack.open_network() as net:
                yield net

        async def mishap():
            raise KeyError("of a program")

        @pytest.mark.trio(run=tunstack.run_virtual)
        async def test_it(net):
            net.start_soon(await net.add_host("server"), mishap)
            await trio.sleep_forever()
        """
    )
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*KeyError: 'of a program'*"])


@in_virtual_time
async def test_after_the_end_hosts_and_names_are_gone() -> None:
    async with tunstack.open_network() as net:
        host = await net.add_host("host")
    with pytest.raises(RuntimeError, match="the host host has ended"):
        net.start_soon("host", trio.sleep_forever)
    with pytest.raises(OSError, match="has ended"):
        host.socket()
    with trio.socket.socket() as sock:
        assert not isinstance(sock, tunstack.Socket)


@pytest.mark.parametrize(
    "call",
    [
        lambda net: net.host("sever"),
        lambda net: net.start_soon("sever", trio.sleep_forever),
        lambda net: net.crash("sever"),
        lambda net: net.link("client", "sever", "delay=1s"),
        lambda net: net.partition("client", ["server", "sever"]),
        lambda net: net.hold("sever"),
        lambda net: net.ladder("sever"),
    ],
)
@in_virtual_time
async def test_an_unknown_name_is_one_clear_line(call: Callable[[Network], object]) -> None:
    async with tunstack.open_network() as net:
        await net.add_host("client")
        await net.add_host("server")
        with pytest.raises(ValueError, match=r"^no host 'sever' in this network; there are: c.*r$"):
            call(net)
