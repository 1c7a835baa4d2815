"""Passive OPEN: listeners, SYN queue, SYN cookies, TCP Fast Open, initial sequence numbers.

listener           the listener and its accept queue
half_open          the SYN queue: connections in SYN-RECEIVED
cookies            SYN cookies (RFC 4987)
isn                initial sequence numbers (RFC 6528) and timestamp offsets
fast_open          TCP Fast Open (RFC 7413), both roles
fast_open_queue    connections accepted before their handshake has ended
fast_open_cookies  its cookies, a server's and a client's
"""
