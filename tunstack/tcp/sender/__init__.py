"""The sending half of a connection: transmission and ACK processing.

sender          new data, retransmissions, acknowledgements
send_variables  the SND variables and what is queued
send_timers     retransmission, persist and probe timers
send_buffer     the octets from SND.UNA on
rtt             round-trip times and the RTO (RFC 6298)
tail_probe      tail loss probe (RFC 8985 section 7)
path_mtu        path MTU as routers report it (RFC 1191)
mtu_probing     path MTU by probes (RFC 4821)
sizing          changes of the sender's MSS
"""
