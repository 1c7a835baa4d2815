"""IP, sans-IO: addresses, datagrams, ICMP, path MTU, demultiplexing.

address        IPv4 addresses: conversion, broadcast, multicast, martians
datagram       a datagram as a value (RFC 791)
options        validation of IPv4 options
fragments      reassembly of fragments
fragmentation  fragments of what is sent, and identifications (RFC 6864)
icmp           ICMP messages as values, and when to send one (RFC 792, RFC 1122)
path_mtu       path MTU by destination (RFC 1191)
ratelimit      rate limits for ICMP errors and resets
demux          connections by four-tuple, listeners, ports
"""
