"""The sending half: what to send next, and what an ACK changes.

sender          new data, retransmissions, acknowledgements
send_variables  the SND variables and what is queued
send_timers     retransmission, persist and probe timers
send_buffer     the octets from SND.UNA on
rtt             round-trip times and the RTO (RFC 6298)
tail_probe      tail loss probe (RFC 8985 section 7)
path_mtu        how large a segment arrives, as routers tell (RFC 1191)
mtu_probing     the same by trying (RFC 4821)
sizing          what the sender does about it
"""
