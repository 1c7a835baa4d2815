"""Loss recovery: what is lost, what to send again, and the window meanwhile.

recovery     fast recovery and recovery after a timeout
scoreboard   what is outstanding, and what is known of it (RFC 6675)
departures   the same in the order of sending
rack         loss detection by time (RFC 8985)
prr          proportional rate reduction (RFC 6937)
undo, frto   spurious recoveries and timeouts (RFC 3522, 5682)
sack_blocks  SACK and D-SACK blocks of an ACK (RFC 2018, 2883)
"""
