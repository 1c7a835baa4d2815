"""Passive OPEN: listeners, half-open connections, cookies, initial numbers.

listener           the backlog, and who waits in it
half_open          connections in SYN-RECEIVED
cookies            SYN cookies (RFC 4987)
isn                initial sequence numbers (RFC 6528) and timestamp offsets
fast_open          TCP Fast Open (RFC 7413), both roles
fast_open_cookies  its cookies
"""
