"""UDP (RFC 768), sans-IO: the state of a socket and its receive queue.

receive_queue   received datagrams that wait for the application, and their memory (SO_RCVBUF)
sock            a socket's names, options, pending errors and receive queue (Linux's udp_sock)

The header is :mod:`tunstack.wire.udp`'s; ports, demultiplexing and sending are the stack's
(:mod:`tunstack.stack.udp_ports`, :mod:`tunstack.stack.datagrams`).
"""
