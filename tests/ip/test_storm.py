"""Mutated packets of both families, at sockets in all states: nothing fails, nothing is kept."""

from __future__ import annotations

from random import Random

import pytest

from tests.ip.storm import Storm, rage
from tunstack.wire import Reason

PACKETS = 1500
"""Of each run; 300,000 were thrown once, in runs of 5,000."""


@pytest.mark.parametrize("offload", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_mutated_packets_do_no_harm(seed: int, offload: bool) -> None:
    storm = Storm(Random(seed), offload=offload)
    rage(storm, PACKETS)
    statistics = storm.stack.statistics()
    assert statistics["internal_errors"] == 0
    assert statistics["packets_received"] >= storm.thrown
    storm.advance(10_000)
    assert storm.stack.statistics()["fragment_memory_held"] == 0


def test_they_are_of_every_kind() -> None:
    storm = Storm(Random(0))
    rage(storm, 6000)
    statistics = storm.stack.statistics()
    of_load = {Reason.FRAGMENT_MEMORY, Reason.UDP_BUFFER_FULL, Reason.BAD_VNET_HEADER}
    rare = {Reason.BAD_HEADER_LENGTH, Reason.BAD_EXTENSION_HEADER}
    assert [reason for reason in {*Reason} - of_load - rare if not statistics[reason]] == []
    counted = ("tcp_accepted", "udp_received", "udp_errors", "datagrams_reassembled")
    assert all(statistics[name] > 20 for name in counted)


@pytest.mark.rfc("4443:2.4", "1122:3.2.2")
def test_no_packet_is_answered_to_a_source_that_cannot_be() -> None:
    """Of each packet that the stack sends the storm checks the addresses."""
    storm = Storm(Random(106))
    rage(storm, 2500)
    assert storm.thrown >= 2500
