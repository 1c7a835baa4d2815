"""CLOSE, ABORT, resets, ICMP errors and timeouts."""

from __future__ import annotations

import errno

from tunstack.compiled import mypyc_attr
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


@mypyc_attr(allow_interpreted_subclasses=True)
class Ending(Transmitter):
    """Closes a connection, or one half of it."""

    __slots__ = ()

    # Our half

    def shutdown(self) -> None:
        """CLOSE our half (section 3.10.4): queue a FIN. The peer's half stays open."""
        if self.state in CAN_SEND and not self._close_requested:
            self._close_requested = True
            self.run(teardown(self))
        elif self.state in (SYN_SENT, LISTEN) and not len(self.sender.buffer):
            self.end(None)
        else:
            # SYN-RECEIVED, or SYN-SENT with Fast Open data: the CLOSE is queued until
            # ESTABLISHED. In other states our half is closed already.
            self._close_requested = True

    def send_fin(self) -> None:
        """Queue a FIN behind all data (section 3.10.4)."""
        self.sender.fin_queued = True
        self.enter(LAST_ACK if self.state is CLOSE_WAIT else FIN_WAIT_1)

    def start_time_wait(self) -> None:
        """Stop all other timers in TIME-WAIT; :meth:`transmit` starts the 2 MSL timer."""
        self.sender.stop_timers()

    def shutdown_receive(self) -> None:
        """SHUT_RD, as on Linux: data queued or arriving can be read, and reads do not block.

        No segment is sent; if the application reads no more, the window closes.
        """
        self.receiver.shut_down = True

    # Both

    def close(self, linger: float | None = None) -> None:
        """CLOSE by the application: close our half, and answer any further data with a RST.

        If `linger` is given, and not all data is acknowledged within `linger` seconds, the
        connection is reset then.

        If received data is unread, the connection is aborted instead: the peer must learn that
        data was lost (section 3.6.1, SHLD-3). In TIME-WAIT the peer has closed already, and the
        2 MSL timer keeps running (MUST-13).
        """
        self.sender.orphan()
        self.linger = linger
        if self.state is TIME_WAIT:
            self.receiver.buffer.clear()
        elif self.receiver.unread:
            self.abort()
            return
        self.shutdown()

    def abort(self) -> None:
        """ABORT (section 3.10.5): send a RST if the peer may have a connection, and close."""
        self.sender.orphaned = True
        if self.state is SYN_RECEIVED:
            # If our SYN,ACK is lost, the peer is in SYN-SENT, and ignores a RST without ACK.
            self._outbox.append(Segment(self.sender.nxt, self.receiver.nxt, RST | ACK))
        elif self.state not in (CLOSED, LISTEN, SYN_SENT, TIME_WAIT):
            self.send_reset(self._reset_seq())
        self.end(OSError(errno.ECONNABORTED, "Connection aborted"))

    def evict(self) -> None:
        """Reset the connection to make room for another.

        The peer gets a RST, the application an error. Unread data is dropped.
        """
        if self.state not in (CLOSED, LISTEN, SYN_SENT, TIME_WAIT):
            self.send_reset(self.sender.nxt)
        if self.receiver.buffer.size:
            self.receiver.buffer.clear()
            self.receiver.finished = False  # Reads must fail, not return the end of stream.
        self.end(OSError(errno.ECONNABORTED, "Connection evicted: the host is full"))

    def send_reset(self, seq: int) -> None:
        """Queue a RST with sequence number `seq`."""
        self._outbox.append(Segment(seq, flags=RST))

    def _reset_seq(self) -> int:
        """The sequence number of a RST that does not reply to a segment: SND.NXT.

        If the peer has shrunk its window, the last number within it: the peer would silently drop
        a RST beyond the window (RFC 5961 section 3.2).
        """
        sender = self.sender
        if diff(sender.nxt, sender.una) <= sender.wnd:
            return sender.nxt
        return (sender.una + max(0, sender.wnd - 1)) & MASK

    def end(self, error: OSError | None) -> None:
        """Delete the TCB and enter CLOSED, with `error` if there is one; idempotent."""
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
        """Process an ICMP error about one of our segments (section 3.9.2.2).

        In SYN-SENT it ends the attempt, as on Linux and by RFC 5461 section 4. Later it is a soft
        error (MUST-56).
        """
        if self.state is SYN_SENT:
            self.end(error)
        else:
            self.report(error)

    def report(self, error: OSError) -> None:
        """Record a soft error (ERROR_REPORT, section 3.9.1.8)."""
        self.soft_error = self.latest_report = error
        self.reports += 1

    def _report_r1(self) -> None:
        """Report that R1 is reached (SHLD-9), unless ICMP has reported an error."""
        known = self.soft_error
        attempts = self.sender.unanswered
        self.report(OSError(errno.ETIMEDOUT, f"No answer to {attempts} attempts"))
        self.soft_error = known or self.soft_error

    def give_up(self) -> None:
        """Close as R2 is reached: with the error that ICMP reported, else ETIMEDOUT."""
        timed_out = OSError(errno.ETIMEDOUT, "Connection timed out")
        known = self.soft_error
        self.end(known if known is not None and known.errno != errno.ETIMEDOUT else timed_out)
