"""A TUN device with several queues, made in a private namespace."""

from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING

import pytest

from tests.link.packets import ipv4
from tunstack.link.errors import SetupError
from tunstack.link.multiqueue import is_deleted
from tunstack.link.netns import NetworkNamespace, open_network_namespace

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.kernel

OURS = "198.51.100.2"


@pytest.fixture
async def namespace() -> AsyncIterator[NetworkNamespace]:
    async with open_network_namespace() as namespace:
        yield namespace


def packets_in(descriptor: int, header: int) -> list[bytes]:
    """What waits in a queue, each packet without the `header` octets before it."""
    packets: list[bytes] = []
    os.set_blocking(descriptor, False)
    while True:
        try:
            packets.append(os.read(descriptor, 2000)[header:])
        except BlockingIOError:
            return ipv4(packets)


@pytest.mark.parametrize("offload", [False, True])
async def test_each_flow_has_one_queue_and_each_queue_has_flows(
    namespace: NetworkNamespace, offload: bool
) -> None:
    queues = await namespace.open_queues(3, f"{OURS}/24", mtu=1400, offload=offload)
    assert (queues.mtu, queues.offload) == (1400, offload)
    for _ in range(64):
        with namespace.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            await sender.connect((OURS, 9))
            await sender.send(b"one")
            await sender.send(b"two")
    header = 10 if offload else 0
    ports = [
        [packet[20:22] for packet in packets_in(descriptor, header)]
        for descriptor in queues.descriptors
    ]
    assert all(ports)
    assert sum(map(len, ports)) == 128
    assert sum(len(set(own)) for own in ports) == len(set().union(*ports))
    queues.close()


async def test_a_device_that_someone_has_open_is_not_shared(namespace: NetworkNamespace) -> None:
    queues = await namespace.open_queues(2, f"{OURS}/24", name="mine")
    with pytest.raises(SetupError, match="the device mine is in use by another process"):
        await namespace.open_queues(2, f"{OURS}/24", name="mine")
    queues.close()


async def test_a_persistent_device_must_have_been_made_for_several(
    namespace: NetworkNamespace,
) -> None:
    command = "ip tuntap add dev {} mode tun {}"
    await namespace.run_process(command.format("one", ""), shell=True)
    await namespace.run_process(command.format("many", "multi_queue"), shell=True)
    with pytest.raises(SetupError, match="one exists and is no TUN device that several processes"):
        await namespace.open_queues(2, f"{OURS}/24", name="one")
    for _ in range(2):  # It may be had again when it was left.
        queues = await namespace.open_queues(2, f"{OURS}/24", name="many")
        assert len(queues.descriptors) == 2
        queues.close()


async def test_a_queue_detects_that_its_device_was_deleted(namespace: NetworkNamespace) -> None:
    queues = await namespace.open_queues(2, f"{OURS}/24")
    assert not any(map(is_deleted, queues.descriptors))
    await namespace.run_process(["ip", "link", "delete", queues.name])
    assert all(map(is_deleted, queues.descriptors))
    with pytest.raises(OSError, match="bad state") as caught:
        os.read(queues.descriptors[0], 2000)
    assert caught.value.errno == errno.EBADFD
    queues.close()


async def test_there_may_be_as_many_queues_as_are_promised(namespace: NetworkNamespace) -> None:
    queues = await namespace.open_queues(253, f"{OURS}/24")
    assert len(set(queues.descriptors)) == 253
    queues.close()
