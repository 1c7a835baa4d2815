"""IP, sans-IO: addresses, datagrams, ICMP, path MTU, demultiplexing.

address    addresses: conversion, broadcast, multicast, martians
family     what differs between IPv4 and IPv6
selection  source address selection (RFC 6724)
flow_label IPv6 flow labels (RFC 6437)
datagram   a datagram as a value (RFC 791)
options    validation of IPv4 options
fragments  reassembly of fragments
icmp       ICMP messages as values, and when to send one (RFC 792, RFC 1122)
path_mtu   path MTU by destination (RFC 1191)
ratelimit  rate limits for ICMP errors and resets
demux      connections by four-tuple, listeners, ports
"""
