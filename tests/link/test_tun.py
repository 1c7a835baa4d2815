"""A TUN device as a link, with the kernel at the other end."""

from __future__ import annotations

import errno
import json
import os
import socket
from contextlib import closing
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.link.in_a_child import run
from tests.link.packets import echo_request, ipv4, next_ipv4
from tunstack.link.errors import SetupError
from tunstack.link.netns import NetworkNamespace, open_network_namespace
from tunstack.link.tun import TunLink, open_tun
from tunstack.tcp.config import Config

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

OURS, KERNEL = "198.51.100.2", "198.51.100.1"


@pytest.fixture
async def namespace() -> AsyncIterator[NetworkNamespace]:
    async with open_network_namespace() as namespace:
        yield namespace


@pytest.fixture
async def link(namespace: NetworkNamespace) -> TunLink:
    return await namespace.open_tun(f"{OURS}/24")


async def receive_forever(link: TunLink) -> NoReturn:
    while True:
        await link.wait_readable()
        link.receive()


@pytest.mark.kernel
@pytest.mark.parametrize("parts", [1, 3])
async def test_the_kernel_answers_an_echo_request(link: TunLink, parts: int) -> None:
    request = echo_request(OURS, KERNEL, b"hello, kernel!")
    size = -(-len(request) // parts)
    view = memoryview(request)
    assert link.send([view[start : start + size] for start in range(0, len(view), size)])
    reply = await next_ipv4(link)
    assert reply[12:20] == socket.inet_aton(KERNEL) + socket.inet_aton(OURS)
    assert reply[20] == 0
    assert reply[24:] == request[24:]


@pytest.mark.kernel
async def test_what_the_kernel_sends_to_our_address_comes_out_in_order(
    namespace: NetworkNamespace, link: TunLink
) -> None:
    sender = namespace.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for number in range(100):
        await sender.sendto(bytes([number]) * 1472, (OURS, 9))
    packets = ipv4(link.receive(limit=300))
    assert [packet[28] for packet in packets] == list(range(100))
    assert {len(packet) for packet in packets} == {1500}
    assert link.receive() == []


@pytest.mark.kernel
@pytest.mark.parametrize("offload", [False, True])
async def test_the_queue_to_us_holds_the_largest_window(
    namespace: NetworkNamespace, offload: bool
) -> None:
    """Also in the segments of the smallest usual MTU, while nobody reads."""
    segments = -(-Config().receive_buffer_max // (576 - 40))
    link = await namespace.open_tun(f"{OURS}/24", offload=offload)
    with closing(link):
        sender = namespace.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for _ in range(segments):
            await sender.sendto(b"datagram", (OURS, 9))
        received = 0
        while packets := link.receive(limit=1000):
            received += sum(bytes(packet).endswith(b"datagram") for packet in packets)
        assert received == segments


@pytest.mark.kernel
async def test_receive_takes_at_most_its_limit(namespace: NetworkNamespace, link: TunLink) -> None:
    sender = namespace.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for _ in range(10):
        await sender.sendto(b"x", (OURS, 9))
    assert len(link.receive(limit=4)) == 4


@pytest.mark.kernel
async def test_the_descriptor_neither_blocks_nor_is_inherited(link: TunLink) -> None:
    assert not os.get_blocking(link.fileno())
    assert not os.get_inheritable(link.fileno())


async def exists(namespace: NetworkNamespace, device: str) -> bool:
    command = ["ip", "link", "show", "dev", device]
    shown = await namespace.run_process(
        command, check=False, capture_stdout=True, capture_stderr=True
    )
    return shown.returncode == 0


@pytest.mark.kernel
async def test_closing_deletes_the_device_and_wakes_who_waits(
    namespace: NetworkNamespace, link: TunLink
) -> None:
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def blocked() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await receive_forever(link)

        await wait_all_tasks_blocked()
        link.close()
    link.close()
    assert link.fileno() == -1
    for wait in (link.wait_readable, link.wait_writable):
        with pytest.raises(trio.ClosedResourceError):
            await wait()
    for use in (link.receive, lambda: link.send([b"\x45"])):
        with pytest.raises(OSError, match="closed") as caught:
            use()
        assert caught.value.errno == errno.EBADF
    # A program that is just being started has a copy of the descriptor until its exec.
    with trio.fail_after(10):
        while await exists(namespace, link.name):  # noqa: ASYNC110
            await trio.sleep(0.01)


@pytest.mark.kernel
async def test_a_device_that_is_down_loses_what_is_sent_and_recovers(
    namespace: NetworkNamespace, link: TunLink
) -> None:
    request = echo_request(OURS, KERNEL, b"")
    await namespace.run_process(["ip", "link", "set", link.name, "down"])
    assert link.send([request])
    assert link.lost == 1
    await namespace.run_process(["ip", "link", "set", link.name, "up"])
    assert link.send([request])
    assert (await next_ipv4(link))[20] == 0
    assert link.lost == 1


@pytest.mark.kernel
async def test_a_device_that_is_deleted_wakes_who_waits_and_raises_enodev(
    namespace: NetworkNamespace, link: TunLink
) -> None:
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def blocked() -> None:
            with pytest.raises(OSError, match="was deleted") as caught, trio.fail_after(5):
                await receive_forever(link)
            assert caught.value.errno == errno.ENODEV

        await namespace.run_process(["ip", "link", "delete", link.name])
    with pytest.raises(OSError, match="was deleted") as caught:
        link.send([echo_request(OURS, KERNEL, b"")])
    assert caught.value.errno == errno.ENODEV


@pytest.mark.kernel
async def test_what_is_no_ip_packet_is_refused_by_the_kernel(link: TunLink) -> None:
    with pytest.raises(OSError, match="Invalid argument") as caught:
        link.send([b"\x00" * 20])
    assert caught.value.errno == errno.EINVAL


@pytest.mark.kernel
async def test_name_mtu_and_peer_are_as_asked_for(namespace: NetworkNamespace) -> None:
    link = await namespace.open_tun(f"{OURS}/28", name="seven", peer="198.51.100.9", mtu=1280)
    assert (link.name, link.mtu) == ("seven", 1280)
    shown = await namespace.run_process(
        ["ip", "-4", "address", "show", "dev", "seven"], capture_stdout=True
    )
    assert b"mtu 1280" in shown.stdout
    assert b"inet 198.51.100.9/28" in shown.stdout


@pytest.mark.kernel
async def test_a_single_address_is_reached_point_to_point(namespace: NetworkNamespace) -> None:
    link = await namespace.open_tun(f"{OURS}/32", peer="198.51.100.129")
    assert link.send([echo_request(OURS, "198.51.100.129", b"")])
    assert (await next_ipv4(link))[16:20] == socket.inet_aton(OURS)


@pytest.mark.kernel
async def test_a_large_mtu_carries_large_packets(namespace: NetworkNamespace) -> None:
    link = await namespace.open_tun(f"{OURS}/24", mtu=65535)
    request = echo_request(OURS, KERNEL, bytes(65506))
    assert link.send([request])
    assert len(await next_ipv4(link)) == 65534


@pytest.mark.kernel
async def test_two_devices_on_networks_of_their_own_do_not_meet(
    namespace: NetworkNamespace, link: TunLink
) -> None:
    second = await namespace.open_tun("198.51.100.130/25")
    sender = namespace.socket(socket.AF_INET, socket.SOCK_DGRAM)
    await sender.sendto(b"to the second", ("198.51.100.130", 9))
    assert (await next_ipv4(second)).endswith(b"to the second")
    assert ipv4(link.receive()) == []


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("address", "wish", "message"),
    [
        ("198.51.100.3/24", {}, "198.51.100.1 is already an address of tun0"),
        ("198.51.100.3/24", {"peer": "198.51.100.4"}, "network 198.51.100.0/24 of tun0"),
        ("198.51.100.9/16", {}, "network 198.51.100.0/24 of tun0"),
        (
            "198.51.100.1/32",
            {"peer": "198.51.100.129"},
            "198.51.100.1 is already an address of tun0",
        ),
        ("198.51.100.130/25", {"name": "tun0"}, "tun0 is in use by another process"),
        ("198.51.100.130/25", {"name": "lo"}, "no TUN device that one program can attach to"),
        ("198.51.100.130/25", {"device_node": "/nowhere/tun"}, "modprobe tun"),
        ("198.51.100.130/25", {"device_node": "/dev/null"}, "is it a TUN device node"),
        ("198.51.100.130/25", {"device_node": "/dev"}, "cannot open /dev: Is a directory"),
    ],
)
async def test_a_mistake_is_one_line_that_says_what_to_do(
    namespace: NetworkNamespace, address: str, wish: dict[str, Any], message: str
) -> None:
    await namespace.open_tun(f"{OURS}/24", name="tun0")
    with pytest.raises(SetupError, match=message) as caught:
        await namespace.open_tun(address, **wish)
    assert "\n" not in str(caught.value)
    await namespace.open_tun("198.51.100.130/25")  # the namespace is none the worse for it


def test_no_device_node_in_the_current_namespace(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="--device /dev/net/tun"):
        open_tun(f"{OURS}/24", device_node=str(tmp_path / "tun"))


async def make_persistent(namespace: NetworkNamespace, *commands: str) -> None:
    for command in ("ip tuntap add dev lasting mode tun", *commands):
        await namespace.run_process(command.split())


@pytest.mark.kernel
async def test_a_persistent_device_gets_what_it_lacks_and_outlives_the_link(
    namespace: NetworkNamespace,
) -> None:
    await make_persistent(namespace)
    for _ in range(2):
        link = await namespace.open_tun(f"{OURS}/24", name="lasting", mtu=1400)
        assert link.mtu == 1400
        link.send([echo_request(OURS, KERNEL, b"")])
        assert (await next_ipv4(link))[20] == 0
        link.close()


@pytest.mark.kernel
async def test_a_persistent_device_keeps_the_address_and_mtu_that_it_has(
    namespace: NetworkNamespace,
) -> None:
    await make_persistent(
        namespace,
        "ip address add 198.51.100.77/24 dev lasting",
        "ip link set lasting mtu 1300 up",
    )
    link = await namespace.open_tun(f"{OURS}/24", name="lasting")
    assert link.mtu == 1300
    link.send([echo_request(OURS, "198.51.100.77", b"")])
    assert (await next_ipv4(link))[20] == 0
    shown = await namespace.run_process(["ip", "-4", "-o", "address"], capture_stdout=True)
    assert shown.stdout.count(b"lasting") == shown.stdout.count(b"198.51.100.77/24") + 1


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("198.51.100.130/25", "not reached through lasting"),
        ("198.51.100.77/25", "kernel's own address on lasting"),
    ],
)
async def test_an_address_that_a_persistent_device_does_not_reach_is_refused(
    namespace: NetworkNamespace, address: str, message: str
) -> None:
    await make_persistent(namespace, "ip address add 198.51.100.77/25 dev lasting")
    with pytest.raises(SetupError, match=message):
        await namespace.open_tun(address, name="lasting")


@pytest.mark.kernel
def test_open_tun_makes_a_device_in_the_current_namespace() -> None:
    """In a child, which leaves this machine's own namespace before it does."""
    printed = run("""
        import json, os, trio
        from tests.link.packets import echo_request, ipv4, next_ipv4
        from tunstack.link.holder import enter_new_namespace
        from tunstack.link.tun import open_tun

        async def main():
            link = open_tun("198.51.100.2/24", name="here")
            link.send([echo_request("198.51.100.2", "198.51.100.1", b"")])
            packets = []
            while not packets:
                await link.wait_readable()
                packets = ipv4(link.receive())
            names = [name for _, name in socket.if_nameindex()]
            link.close()
            print(json.dumps([packets[0][20], names, [name for _, name in socket.if_nameindex()]]))

        import socket
        enter_new_namespace()
        trio.run(main)
    """)
    assert json.loads(printed) == [0, ["lo", "here"], ["lo"]]


def test_memory_of_large_packets_is_used_again() -> None:
    """Else each of a batch would cost sixteen page faults, each time."""
    faults = run("""
        import os, resource, socket
        from tunstack.link.tun import TunLink

        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        link = TunLink(near.detach(), "pair", 1500, offload=True)
        packet = bytes(65000)

        def batch():
            packets = []
            for _ in range(33):  # As many as one call of `receive` returns.
                far.send(packet)
                packets += link.receive()
            assert len(packets) == 33

        batch()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(10):
            batch()
        print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
        link.close()
        far.close()
    """)
    assert int(faults) < 500  # of 5,280


def test_of_large_packets_fewer_are_received_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that what follows them has not long to wait."""
    monkeypatch.setattr("tunstack.link.tun._RECEIVE_BUDGET", 100_000)
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    link = TunLink(near.detach(), "pair", 1500, offload=True)
    with far:
        for size in (60_000, 60_000, 100, 100, 100):
            far.send(bytes(size))
        assert [len(packet) for packet in link.receive()] == [60_000, 60_000]
        assert [len(packet) for packet in link.receive(2)] == [100, 100]
        assert [len(packet) for packet in link.receive()] == [100]
    link.close()
