"""The socket: a `trio.socket.SocketType` over a host, so that everything higher is trio's own.

`trio.SocketStream`, `trio.SocketListener`, `trio.serve_listeners` and `trio.SSLStream` take it for
one of trio's. Where the documentation of :mod:`trio.socket` and Linux's man pages say what a call
does, this does the same. The parts of :class:`Socket` share one state:

===================  ==============================================================================
`socket`             :class:`Socket`: opens, listens, accepts and closes
`stream`             :class:`TcpStream`: a `trio.SocketStream` over it, and the listener of those
`accepting`          connections without a task that waits in `accept`
`answers`            answers that wait for the FIN of an application that closes
`verbs`              part: what a test does to a connection: freeze its window, vanish
`surface`            its base: the calls that come down to `recv` and `send`
`state`              its connection or listener, its parameters, and the tasks that wait
`transfer`           part: receiving and sending
`reads`              how much a stream reads in one call
`flows`              the connections of sockets, for what uses them without sockets
`notices`            part: waiting for acknowledgement, errors and urgent data
`options`            what each socket option does here: a folder, with a table for each level
`datagram`           :class:`~tunstack.socket.datagram.DatagramSocket`: a UDP socket;
                     `ancillary`, its control messages
`ping`               :class:`~tunstack.socket.ping.PingSocket`: ICMP echo
`datagram_base`      the base of both: names, shutdown, close, and the calls for messages
`host_socket`        the base of all sockets of a host
`addresses`          ``(host, port)``, and looking up names
`waiter`             a wait queue of one task
`descriptors`        numbers for `fileno`
`endpoint`           what a socket needs of a host, as a protocol: the host is above this package
`stdlib`             the same socket as a `socket.socket`, for libraries that ask for one
`kinds`              which class a family, type and protocol has
`factory`            makes sockets for programs that call `trio.socket.socket` or `socket.socket`
`kernel`             where kernel sockets are created: those of this process in a private namespace
===================  ==============================================================================
"""

from __future__ import annotations

from tunstack.socket.socket import Socket
from tunstack.socket.stream import TcpListener, TcpStream

__all__ = ["Socket", "TcpListener", "TcpStream"]
