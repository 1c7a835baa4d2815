"""TCP, sans-IO: RFC 9293 and what builds on it. No trio, no sockets, no clock, no packets' bytes.

Where to look:

===================  ==============================================================================
`connection`         one connection and its entry points: segments in and out, timers, calls
`control_block`      what it knows
`transmitter`        the segments that it sends
`syn_options`        what the SYNs of both sides settle
`ending`             what may end it
`arrival`            what to do with a segment that arrives, for every state (section 3.10.7)
`prediction`         the short way for a segment that is as everybody expects it
`state`              the eleven states, and the table of permitted transitions
`handshake`          how a connection opens: a coroutine that reads like the exchange
`teardown`           how it closes, each half on its own: another
`narration`          what those two await: changes of state
`sender`             what to send next, and what an acknowledgement changes
`send_variables`     what it knows: the SND variables, what is queued, how fast it may go
`send_timers`        retransmission, persist timer, probes
`sack_blocks`        what the peer says that it has
`recovery`           what to send again after a loss; behind it
`scoreboard`         what is outstanding, and what is known of it
`departures`         the same by when it was sent, for those that go by time
`rack`, `tail_probe` what is lost, by time; and how to hear of it when the last one is
`prr`                how much goes out meanwhile
`undo`, `frto`       whether nothing was lost after all
`congestion`         how much may be on its way
`ecn`                marks where there would have been a loss
`path_mtu`           how large a segment arrives, as routers tell
`mtu_probing`        the same where they do not: by trying
`sizing`             what the sender does about it
`rtt`                the retransmission timeout
`receiver`           RCV variables, window, when to acknowledge
`urgent`             the mark in the stream up to which it is urgent
`reassembly`         what came out of order
`buffer_tuning`      how large the buffers are, where nobody has set it
`isn`                numbers that an outsider cannot guess
`listener`           what listens, and what waits there
`half_open`          what is in SYN-RECEIVED: few
`cookies`            how to answer a SYN and remember nothing
`fast_open`          data in the SYN, for hosts that have met before
`fast_open_cookies`  what they know each other by
`challenge`          how often to answer what an attacker could send
`budget`             the memory that the connections of a host share
===================  ==============================================================================

What may go and is held back, what ends the wait, and when it ends at the latest:

=====================================  ===========================================  ================
a small segment (Nagle, Minshall)      the ACK of the small one before it, a FIN,   the peer's
                                       TCP_NODELAY                                  delayed ACK
what is corked (TCP_CORK, MSG_MORE)    a full segment, a FIN, the next call         200 ms
the rest of a large segment            more data, an ACK, a FIN                     1 ms (DEFERRAL)
less than half of a small window       the window, an ACK of all that is on its     the persist
                                       way                                          timer
a size probe larger than cwnd's room   an ACK                                       the round trip
an ACK of less than two segments       the second segment, data of ours             40 ms
the news of a wider window             reading, until it can double; any segment    the peer's probe
a writer above its low-water mark      ACKs; never what waits for the writer        as those
=====================================  ===========================================  ================

No two of them wait for each other: what waits for the application (the rest, the cork) lets the
application go on. What the host holds for the applications' turns, :mod:`tunstack.host.turns` says.

The core decides, the coroutine narrates. The rules for an arriving segment depend on the state, and
stand in one place, in the RFC's order; the life of a connection is a story, and reads like one. The
coroutines are resumed by the state machine at the moment of a change: they cost about a
microsecond, where a switch of trio tasks takes five.
"""

from __future__ import annotations
