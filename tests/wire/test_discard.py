"""The reasons to drop a packet."""

from __future__ import annotations

import re

import pytest

from tunstack.wire import Discard, Reason


@pytest.mark.parametrize("reason", Reason)
def test_reason_is_the_name_of_a_counter(reason: Reason) -> None:
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", reason)


@pytest.mark.parametrize(
    ("reason", "phrase"),
    [
        (Reason.TRUNCATED, "truncated"),
        (Reason.BAD_TCP_CHECKSUM, "bad TCP checksum"),
        (Reason.BAD_IP_FLAGS, "bad IP flags"),
        (Reason.TRUNCATED_ICMP, "truncated ICMP"),
        (Reason.NOT_OUR_ADDRESS, "not our address"),
        (Reason.BAD_SOURCE, "bad source address"),
        (Reason.BAD_FRAGMENT, "bad fragment"),
        (Reason.FRAGMENT_TIMEOUT, "fragment timeout"),
        (Reason.UNKNOWN_PROTOCOL, "unknown protocol"),
    ],
)
def test_discard_says_why_to_people(reason: Reason, phrase: str) -> None:
    error = Discard(reason)
    assert (error.reason, reason.phrase, str(error)) == (reason, phrase, phrase)
