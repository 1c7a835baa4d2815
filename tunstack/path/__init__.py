"""The path of packets between two stacks: impairments, bridges, captures.

impair      network emulation (loss, delay, rate, ...), decided packet by packet, without I/O
spec        its textual syntax: ``loss=1%,delay=20ms``
impaired    any link with an impaired path behind it
by_address  impairments by a host's address, the longest prefix first
crossing    the process that forwards packets between two descriptors
bridge      starting that process, and its statistics
rules/      rules on single packets: drop, delay, change, answer, ...
pcapng      captures: written with a comment for each packet, read from pcap and pcapng
"""
