"""One connection: states, arriving segments, transmission, opening and closing.

connection     the entry points: segments in and out, timers, calls
control_block  the transmission control block (TCB)
state          the eleven states and the table of permitted transitions
arrival        SEGMENT ARRIVES, for every state (RFC 9293 section 3.10.7)
fast_path      header prediction: the next segment in order
transmitter    builds and sends segments
ending         close, abort, reset, timeout, eviction
handshake, teardown   opening and closing as coroutines
coroutines     runs them at changes of state
syn_options    negotiation of options by the SYNs
ecn            explicit congestion notification (RFC 3168)
fast_open      the state of TCP Fast Open (RFC 7413)
owner          called when it opens or fails to
idle_timers    keep-alive, linger, FIN-WAIT-2, TIME-WAIT
challenge      the limit of challenge ACKs (RFC 5961 section 7)
verdict        accepted or dropped, and why
"""
