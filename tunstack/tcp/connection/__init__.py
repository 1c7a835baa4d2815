"""One connection: its states, its rules for arriving segments, what it sends, how it ends.

connection     the entry points: segments in and out, timers, calls
control_block  what a connection knows
state          the eleven states and the table of permitted transitions; diagram draws it
arrival        RFC 9293 section 3.10.7: what to do with a segment, for every state
fast_path      header prediction: the next segment in order, without the rest of the rules
transmitter    the segments that it sends
ending         close, abort, reset, timeout, eviction
handshake, teardown   opening and closing as coroutines; narration runs them
fast_open      what TCP Fast Open (RFC 7413) changes in its opening
owner          who hears that it opens, or fails to
syn_options    what the SYNs of both sides settle
ecn            congestion marks
idle_timers    keep-alive, linger, FIN-WAIT-2, TIME-WAIT
challenge      the limit of challenge ACKs (RFC 5961 section 7)
verdict        what became of a segment
"""
