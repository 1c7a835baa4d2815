"""A middlebox that strips timestamps from all but the SYNs: they were agreed on, and none come."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import pytest

from tests.path.kernel import connection, kernel_and_host, send_and_receive
from tunstack.ip.datagram import TCP
from tunstack.ip.family import FAMILIES, Family
from tunstack.tcp.segment import SYN
from tunstack.wire import decode_datagram, decode_segment, encode_segment

if TYPE_CHECKING:
    from tests.path.middlebox import Fate

pytestmark = pytest.mark.kernel

DATA: Final = bytes(range(251)) * 4000


def strip(packet: bytes) -> Fate:
    """The packet without the option."""
    datagram = decode_datagram(packet)
    if datagram.protocol != TCP:
        return packet, None
    sport, dport, segment = decode_segment(datagram)
    if segment.flags & SYN:
        return packet, None
    plain = replace(segment, ts_val=None, ts_ecr=0)
    return b"".join(encode_segment(datagram.src, datagram.dst, sport, dport, plain)), None


@pytest.mark.parametrize("by_kernel", [True, False])
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
async def test_data_is_transferred_both_ways(by_kernel: bool, family: Family) -> None:
    async with (
        kernel_and_host(strip, family=family) as (namespace, host),
        connection(namespace, host, by_kernel=by_kernel) as (kernel, ours),
    ):
        assert await send_and_receive(ours, kernel, DATA) == DATA
        assert await send_and_receive(kernel, ours, DATA) == DATA
        [info] = host.connections()
        assert info.timestamps
        assert info.rtt is not None
