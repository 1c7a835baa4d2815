"""What happens to packets between two stacks: impairments, bridges, captures.

impair     loss, delay, rate and the like, decided packet by packet, without I/O
spec       the same as people write it: ``loss=1%,delay=20ms``
impaired   any link with an impaired path behind it
crossing   the process in which packets cross a bridge
bridge     that process, seen from the one that wants it
pcapng     captures: written with a comment for each packet, read from pcap and pcapng
"""
