"""Loss recovery: loss detection, retransmission, cwnd in recovery.

recovery            fast recovery (RFC 6675, 6582) and recovery after a timeout
recovery_variables  congestion state, *recover*, pipe
scoreboard          the outstanding ranges: SACKed, lost, retransmitted (RFC 6675)
sent                one such range
sent_by_time        the same ranges by the time they were sent, for RACK
rack                loss detection by time (RFC 8985)
prr                 proportional rate reduction (RFC 6937)
undo, frto          spurious recoveries and timeouts (RFC 3522, 3708, 5682)
sack_blocks         SACK and D-SACK blocks of an ACK (RFC 2018, 2883)
"""
