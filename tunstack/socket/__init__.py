"""The socket: a `trio.socket.SocketType` over a host, so that everything higher is trio's own.

`trio.SocketStream`, `trio.SocketListener`, `trio.serve_listeners` and `trio.SSLStream` take it for
one of trio's. Where the documentation of :mod:`trio.socket` and Linux's man pages say what a call
does, this does the same. :class:`Socket` has two levels and three parts, which share one state:

===================  ==============================================================================
`socket`             :class:`Socket`: opens, listens, accepts and closes
`surface`            what it inherits: the calls that do what others do in other words
`state`              its connection or listener, its parameters, and the tasks that wait
`transfer`           part: receiving and sending
`notices`            part: waiting for acknowledgement, errors and urgent data
`options`            part: what each socket option does here; `tcp_info` packs one of them
`addresses`          ``(host, port)``, and looking up names
`waiter`             where a task waits for a connection
`endpoint`           what a socket needs of a host, as a protocol: the host is above this package
`stdlib`             the same socket as a `socket.socket`, for libraries that ask for one
`datagram`           :class:`~tunstack.socket.datagram.DatagramSocket`: a UDP socket;
                     `datagram_options` and `ancillary`, its options and control messages
`ping`               a ping socket
`descriptors`        numbers for `fileno`
`host_socket`        what `stdlib` needs of a socket beyond trio's
`kinds`              which class a family, type and protocol has
`factory`            makes sockets for programs that call `trio.socket.socket` or `socket.socket`
===================  ==============================================================================
"""

from __future__ import annotations

from tunstack.socket.socket import Socket

__all__ = ["Socket"]
