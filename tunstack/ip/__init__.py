"""IP, sans-IO: addresses, datagrams, ICMP, path MTU, demultiplexing.

address        addresses: conversion, broadcast, multicast, martians
family         what differs between IPv4 and IPv6
prefixes       values by prefix, and sets of addresses that have whole networks
selection      source address selection (RFC 6724)
flow_label     IPv6 flow labels (RFC 6437)
datagram       a datagram as a value (RFC 791)
options        validation of IPv4 options
fragments      reassembly of fragments
fragmentation  fragments of what is sent, and identifications (RFC 6864)
icmp           ICMP messages as values, and when to send one (RFC 792, RFC 1122)
icmpv6         when to send an ICMPv6 message (RFC 4443); icmp_rules finds the family's
errors         OSError by number
path_mtu       path MTU by destination (RFC 1191, RFC 8201)
ratelimit      rate limits for ICMP errors and resets
demux          connections by four-tuple, listeners, ports
"""
