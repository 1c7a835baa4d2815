"""The socket: a `trio.socket.SocketType` over a host, so that everything higher is trio's own.

`trio.SocketStream`, `trio.SocketListener`, `trio.serve_listeners` and `trio.SSLStream` take it for
one of trio's. Where the documentation of :mod:`trio.socket` and Linux's man pages say what a call
does, this does the same. One class, in layers, each of which has a file:

===================  ==============================================================================
`base`               what a socket is, its addresses, its options
`variants`           the many ways to say receive and send
`transfer`           data, both ways
`socket`             :class:`Socket`: how it opens, listens and closes
`options`            what each socket option does here
`waiter`             where a task waits for a connection
`stdlib`             the same socket as a `socket.socket`, for libraries that ask for one
`factory`            how other people's programs come by such sockets
===================  ==============================================================================
"""

from __future__ import annotations

from tunstack.socket.socket import Socket

__all__ = ["Socket"]
