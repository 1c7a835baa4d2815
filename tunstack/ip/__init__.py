"""IP, sans-IO: addresses, datagrams and ICMP as values, and who a segment belongs to."""
