"""TCP, sans-IO: RFC 9293 and its extensions. No trio, no sockets, no clock, no header bytes.

Where to look:

==============  ===================================================================================
`connection/`   one connection: its entry points, the arrival rules (RFC 9293 section 3.10.7), the
                state table, handshake and teardown, challenge ACKs, ECN, the fast path
`sender/`       SND variables, new data, Nagle, timers, RTO, tail loss probe, path MTU
`recovery/`     loss detection and recovery: scoreboard, RACK, PRR, F-RTO, undo
`receiver/`     RCV variables, window, delayed ACKs, reassembly, buffer tuning, urgent data
`listen/`       listeners, SYN queue, SYN cookies, TCP Fast Open, initial sequence numbers
`congestion/`   congestion control: Reno, CUBIC, HyStart++, your own
`segment`       a segment as a value
`info`          a snapshot of a connection, for programs
`sequence`      sequence number arithmetic
`clock`         the timestamp clock
`config`        what can be set for a connection
`budget`        the memory that connections share
==============  ===================================================================================

What is held back, what ends the wait, and when it ends at the latest:

=====================================  ===========================================  ================
a small segment (Nagle, Minshall)      the ACK of the small one before it, a FIN,   the peer's
                                       TCP_NODELAY                                  delayed ACK
corked data (TCP_CORK, MSG_MORE)       a full segment, a FIN, the next call         200 ms
the rest of a large segment            more data, an ACK, a FIN                     1 ms (DEFERRAL)
less than half of a small window       a window update, an ACK of all that is in    the persist
                                       flight                                       timer
an MTU probe larger than cwnd's room   an ACK                                       the round trip
an ACK of less than two segments       the second segment, data to send             40 ms
a window update                        reading, until it can double; any segment    the peer's probe
a writer above its low-water mark      ACKs; never what waits for the writer        as those
an answer, for its FIN (the host)      close or shutdown; any other call, segment   3 turns of the
                                       or timer of the connection                   event loop
=====================================  ===========================================  ================

No two of them wait for each other: what waits for the application (the rest, the cork) does not
block the application. An answer waits for its FIN only where the connections of that listener
before were closed right after one (:mod:`tunstack.socket.answers`), and where no turn of the event
loop was long. What the host holds back besides for the applications' turns is documented in
:mod:`tunstack.host.turns`.

The rules for an arriving segment are in one place, `connection/arrival`, in the RFC's order.
Opening and closing are coroutines (`handshake`, `teardown`) that the state machine resumes at a
change of state. Resuming one takes about a microsecond; a switch of trio tasks takes five.
"""

from __future__ import annotations
