"""The outcome of processing an arriving segment, for counters, captures and traces."""

from __future__ import annotations

from enum import StrEnum


class Verdict(StrEnum):
    """The outcome of RFC 9293 section 3.10.7 for one segment. The value is its name in captures."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    """Everything in it had arrived before; it was acknowledged again."""
    OUT_OF_WINDOW = "out of window"
    """Section 3.10.7.4, first: not acceptable; it was answered with an ACK."""
    OLD_TIMESTAMP = "old timestamp (PAWS)"
    """RFC 7323 section 5: an old duplicate; it was answered with an ACK."""
    NO_ACK = "no ACK bit"
    """Section 3.10.7.4, fifth: dropped."""
    OLD_ACK = "old ACK"
    """Acknowledges what was acknowledged before."""
    UNACCEPTABLE_ACK = "unacceptable ACK"
    """Acknowledges what was never sent."""
    RESET = "reset accepted"
    RESET_IGNORED = "reset ignored"
    CHALLENGED_RESET = "reset challenged"
    """RFC 5961 section 3: in the window, but not exactly at RCV.NXT."""
    CHALLENGED_SYN = "SYN challenged"
    """RFC 5961 section 4."""
    REFUSED = "no listener: reset sent"
    """Section 3.10.7.1: the connection does not exist."""
    AFTER_CLOSE = "data after close: reset sent"
    """Section 3.6.1: the application has closed the connection."""
    BACKLOG_FULL = "dropped: backlog full"
    DEFERRED = "dropped: no data yet"
    """The listener wants data with the ACK that ends the handshake (TCP_DEFER_ACCEPT)."""
    SYN_COOKIE = "answered with a SYN cookie"
    """RFC 4987 section 3.6: as many as may be are half open; nothing is remembered of it."""
    TOO_MANY = "dropped: too many connections"
    NO_MEMORY = "dropped: out of memory"
    """It would have to wait, and what waits already has used up all that it may (`Limits`)."""
    NEW_INCARNATION = "new SYN in TIME-WAIT"
    """Section 3.6.1 (MAY-2), RFC 6191: the old connection makes way for a new one."""
    IGNORED = "ignored"
