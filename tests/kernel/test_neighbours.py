"""Several hosts on one network in one namespace, and the kernel as the router between them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

import tunstack
from tests.families import each_family
from tests.link.in_a_child import run_as_nobody
from tunstack.apps import echo
from tunstack.ip.family import IPV4, IPV6

if TYPE_CHECKING:
    from tunstack import Host, Namespace, Observation
    from tunstack.ip.family import Family

pytestmark = pytest.mark.kernel


def address(family: Family, number: int) -> str:
    return f"198.51.100.{number}" if family is IPV4 else f"2001:db8::{number}"


def both(number: int) -> tuple[str, str]:
    """The addresses of a host."""
    return f"{address(IPV4, number)}/24", f"{address(IPV6, number)}/64"


async def answers(ns: Namespace, *there: str) -> None:
    """The kernel reaches an echo server at each of these addresses, from its only address."""
    for each in there:
        family = IPV6 if ":" in each else IPV4
        with ns.socket(family.number) as sock, trio.fail_after(10):
            await sock.connect((each, 7))
            await sock.send(b"?")
            assert await sock.recv(1) == b"?"
            assert sock.getsockname()[0] == address(family, 1)


async def exchange(host: Host, there: str) -> None:
    with trio.fail_after(10):
        async with await host.open_tcp_stream(there, 7) as stream:
            await stream.send_all(b"?")
            assert await stream.receive_some() == b"?"


@each_family
async def test_the_kernel_and_the_hosts_reach_each_other(ns: Namespace, family: Family) -> None:
    async with (
        ns.open_host(*both(2)) as two,
        ns.open_host(*both(3)) as three,
        ns.open_host(*both(4)) as four,
        trio.open_nursery() as nursery,
    ):
        hosts = {2: two, 3: three, 4: four}
        for host in hosts.values():
            await nursery.start(host.serve_tcp, echo.handler, 7)
        await answers(ns, *(address(family, number) for number in hosts))
        for number in hosts:
            for host in hosts.values():
                await exchange(host, address(family, number))
        nursery.cancel_scope.cancel()


async def test_each_of_a_hosts_addresses_on_the_network_is_reached(ns: Namespace) -> None:
    async with (
        ns.open_host("198.51.100.2/24") as two,
        ns.open_host("198.51.100.3/24", "198.51.100.9/24", "203.0.113.9/24") as three,
        trio.open_nursery() as nursery,
    ):
        await nursery.start(three.serve_tcp, echo.handler, 7)
        for there in ("198.51.100.3", "198.51.100.9", "203.0.113.9"):
            with ns.socket() as sock:
                await sock.connect((there, 7))
            await exchange(two, there)
        nursery.cancel_scope.cancel()


@each_family
async def test_the_first_may_end_before_the_second_and_come_back(
    ns: Namespace, family: Family
) -> None:
    first, gone = trio.Event(), trio.Event()
    async with trio.open_nursery() as nursery:

        async def the_first(*, task_status: trio.TaskStatus[Host]) -> None:
            async with ns.open_host(*both(2)) as host:
                task_status.started(host)
                await first.wait()
            gone.set()

        await nursery.start(the_first)
        async with ns.open_host(*both(3)) as three, trio.open_nursery() as servers:
            await servers.start(three.serve_tcp, echo.handler, 7)
            first.set()
            await gone.wait()
            await answers(ns, address(family, 3))
            async with ns.open_host(*both(2)) as again:
                await servers.start(again.serve_tcp, echo.handler, 7)
                await answers(ns, address(family, 2), address(family, 3))
                await exchange(again, address(family, 3))
                servers.cancel_scope.cancel()


@each_family
async def test_no_redirect_is_sent(ns: Namespace, family: Family) -> None:
    """Nobody has the address: the kernel forwards the SYN to where it came from."""
    seen: list[bytes] = []

    def watch(observation: Observation) -> None:
        seen.append(bytes(observation.packet))

    def came_back() -> bool:
        return len([each for each in seen if each[0] >> 4 == family.version]) > 1

    async with (
        ns.open_host(*both(2), tap=watch) as two,
        ns.open_host(*both(3), tap=watch),
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(two.open_tcp_stream, address(family, 99), 7)
        with trio.fail_after(10):
            while not came_back():  # noqa: ASYNC110
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    redirects = {4: (9, 1, 20, 5), 6: (6, 58, 40, 137)}[family.version]
    at, icmp, type_at, redirect = redirects
    family_seen = [each for each in seen if each[0] >> 4 == family.version]
    assert len(family_seen) > 1
    assert not [each for each in family_seen if each[at] == icmp and each[type_at] == redirect]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("198.51.100.0/24", "198.51.100.3/24"),
        ("198.51.100.3/24", "198.51.100.0/24"),
        ("2001:db8::/64", "2001:db8::3/64"),
        ("198.51.100.2/24", "198.51.100.2/24"),
        ("198.51.100.200/24", "198.51.100.128/25"),
    ],
)
async def test_an_address_is_one_hosts(ns: Namespace, first: str, second: str) -> None:
    async with ns.open_host(first):
        with pytest.raises(tunstack.SetupError, match="choose another"):
            async with ns.open_host(second):
                raise AssertionError("it was opened")


async def test_a_part_of_the_network_may_be_anothers_as_a_whole(ns: Namespace) -> None:
    async with (
        ns.open_host("198.51.100.2/24") as two,
        ns.open_host("198.51.100.128/25") as all_of_it,
        trio.open_nursery() as nursery,
    ):
        await nursery.start(two.serve_tcp, echo.handler, 7)
        await nursery.start(all_of_it.serve_tcp, echo.handler, 7)
        for there in ("198.51.100.2", "198.51.100.130", "198.51.100.254"):
            with ns.socket() as sock:
                await sock.connect((there, 7))
        await exchange(two, "198.51.100.200")
        nursery.cancel_scope.cancel()


async def test_workers_are_on_a_network_with_a_host(ns: Namespace) -> None:
    from tests.workers import services

    async with (
        ns.open_host("198.51.100.2/24") as two,
        ns.open_workers(services.echo, 2, "198.51.100.3/24"),
    ):
        with trio.fail_after(10):
            async with await two.open_tcp_stream("198.51.100.3", services.PORT) as stream:
                assert await stream.receive_some() in (b"\0", b"\1")  # The worker's number.


@each_family
async def test_a_single_address_with_a_peer_is_reached(ns: Namespace, family: Family) -> None:
    """Linux adds no route to an IPv6 peer address of a device that is down."""
    ours = {IPV4: "198.51.100.2/32", IPV6: "2001:db8::2/128"}[family]
    async with (
        ns.open_host(ours, peer=address(family, 1)) as host,
        trio.open_nursery() as nursery,
    ):
        await nursery.start(host.serve_tcp, echo.handler, 7)
        await answers(ns, address(family, 2))
        nursery.cancel_scope.cancel()


def test_a_user_without_privileges_has_several_hosts_on_a_network() -> None:
    printed = run_as_nobody("""
        import trio, tunstack
        from tunstack.apps import echo

        async def main():
            async with (
                tunstack.open_namespace() as ns,
                ns.open_host() as one,
                ns.open_host("198.51.100.3/24", "2001:db8::3/64") as other,
                trio.open_nursery() as nursery,
            ):
                await nursery.start(other.serve_tcp, echo.handler, 7)
                for there in ("198.51.100.3", "2001:db8::3"):
                    async with await one.open_tcp_stream(there, 7) as stream:
                        await stream.send_all(b"?")
                        print((await stream.receive_some()).decode())
                nursery.cancel_scope.cancel()

        trio.run(main)
    """)
    assert printed == "?\n?\n"
