"""Fast readers and a writer for the most common headers, equivalent to the general codec.

segment    a segment with timestamps and no other option, in IPv4: reader and header template
syn        the usual SYN, in IPv4: reader
segment6   as segment, in IPv6
syn6       as syn, in IPv6
datagram   a UDP datagram, of both families: reader and header templates
"""
