"""CLOSE, ABORT, resets, errors and timeouts: what ends a connection."""

from __future__ import annotations

import errno

from tunstack.tcp.connection.state import (
    CAN_SEND,
    CLOSE_WAIT,
    CLOSED,
    FIN_WAIT_1,
    LAST_ACK,
    LISTEN,
    SYN_RECEIVED,
    SYN_SENT,
    TIME_WAIT,
)
from tunstack.tcp.connection.teardown import teardown
from tunstack.tcp.connection.transmitter import Transmitter
from tunstack.tcp.segment import ACK, RST, Segment
from tunstack.tcp.sequence import MASK, diff


class Ending(Transmitter):
    """How a connection ends, or one half of it."""

    __slots__ = ()

    # Our half

    def shutdown(self) -> None:
        """CLOSE our half (section 3.10.4): a FIN follows what is queued. The other stays open."""
        if self.state in CAN_SEND and not self._close_requested:
            self._close_requested = True
            self.run(teardown(self))
        elif self.state in (SYN_SENT, LISTEN) and not len(self.sender.buffer):
            self.end(None)
        else:
            # SYN-RECEIVED, or data of Fast Open's in SYN-SENT: the CLOSE is queued until
            # ESTABLISHED. Elsewhere it has happened.
            self._close_requested = True

    def send_fin(self) -> None:
        """Queue a FIN behind all data (section 3.10.4)."""
        self.sender.fin_queued = True
        self.enter(LAST_ACK if self.state is CLOSE_WAIT else FIN_WAIT_1)

    def start_time_wait(self) -> None:
        """TIME-WAIT begins: stop the other timers; :meth:`transmit` starts that of 2 MSL."""
        self.sender.stop_timers()

    def shutdown_receive(self) -> None:
        """SHUT_RD, as on Linux: what is there or arrives may be read, and no read waits.

        Nothing is sent; if nothing is read any more, the window closes.
        """
        self.receiver.shut_down = True

    # Both

    def close(self, linger: float | None = None) -> None:
        """CLOSE by the application: close our half, and answer any further data with a RST.

        What is not acknowledged within `linger` seconds, if that is given, is not waited for: the
        connection is reset then.

        With received data unread the connection is aborted instead, so that the peer learns that
        data was lost (section 3.6.1, SHLD-3). In TIME-WAIT it can learn nothing any more, and the
        wait goes on for its own reason (MUST-13).
        """
        self.sender.orphan()
        self.linger = linger
        if self.state is TIME_WAIT:
            self.receiver.buffer.clear()  # Nobody will read it.
        elif self.receiver.unread:
            self.abort()
            return
        self.shutdown()

    def abort(self) -> None:
        """ABORT (section 3.10.5): send a RST where the peer has a connection, and end."""
        self.sender.orphaned = True
        if self.state is SYN_RECEIVED:
            # If our SYN,ACK has not arrived, the peer is in SYN-SENT, and takes no RST without ACK.
            self._outbox.append(Segment(self.sender.nxt, self.receiver.nxt, RST | ACK))
        elif self.state not in (CLOSED, LISTEN, SYN_SENT, TIME_WAIT):
            self.send_reset(self._reset_seq())
        self.end(OSError(errno.ECONNABORTED, "Connection aborted"))

    def evict(self) -> None:
        """End it to make room for another connection, though it is in use.

        The peer gets a RST, the application an error. Unread data is dropped.
        """
        if self.state not in (CLOSED, LISTEN, SYN_SENT, TIME_WAIT):
            self.send_reset(self.sender.nxt)
        if self.receiver.buffer.size:
            self.receiver.buffer.clear()
            self.receiver.finished = False  # For it is not the end that follows what was read.
        self.end(OSError(errno.ECONNABORTED, "Connection given up: the host is full"))

    def send_reset(self, seq: int) -> None:
        """Send a RST with sequence number `seq`, and go on."""
        self._outbox.append(Segment(seq, flags=RST))

    def _reset_seq(self) -> int:
        """The sequence number of a RST that no segment of the peer's asks for: SND.NXT.

        Where the peer has taken back its window, the last number within that: what is beyond it,
        the peer would drop without an answer (RFC 5961 section 3.2).
        """
        sender = self.sender
        if diff(sender.nxt, sender.una) <= sender.wnd:
            return sender.nxt
        return (sender.una + max(0, sender.wnd - 1)) & MASK

    def end(self, error: OSError | None) -> None:
        """Delete the connection: to CLOSED, because of `error` if there is one. Idempotent."""
        if self.state is CLOSED:
            return
        self.error = error
        self.sender.stop_timers()
        self.sender.forget_data()
        self.receiver.reassembly.clear()
        self.receiver.ack_due = None
        self.receiver.ack_now = False
        self._syn_due = False
        self.idle_timers.stop()
        self.enter(CLOSED)
        self.close_coroutines()

    # Errors

    def icmp_error(self, error: OSError) -> None:
        """An ICMP error came about a segment of ours (section 3.9.2.2).

        In SYN-SENT it ends the attempt, as on Linux and by RFC 5461 section 4. Later it is a soft
        error (MUST-56).
        """
        if self.state is SYN_SENT:
            self.end(error)
        else:
            self.report(error)

    def report(self, error: OSError) -> None:
        """Note a soft error (ERROR_REPORT, section 3.9.1.8)."""
        self.soft_error = self.latest_report = error
        self.reports += 1

    def _report_r1(self) -> None:
        """R1 is reached (SHLD-9): a soft error, unless ICMP has given a reason."""
        known = self.soft_error
        attempts = self.sender.unanswered
        self.report(OSError(errno.ETIMEDOUT, f"No answer to {attempts} attempts"))
        self.soft_error = known or self.soft_error

    def give_up(self) -> None:
        """R2 is reached: end with the error that ICMP has given, else ETIMEDOUT."""
        timed_out = OSError(errno.ETIMEDOUT, "Connection timed out")
        known = self.soft_error
        self.end(known if known is not None and known.errno != errno.ETIMEDOUT else timed_out)
