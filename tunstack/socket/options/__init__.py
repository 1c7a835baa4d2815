"""Socket options, by Linux's names: their effects and values.

===================  ==============================================================================
`stream`             TCP sockets: setting and getting, and the options at ``SOL_SOCKET``
`tcp`, `ip`          their options at ``IPPROTO_TCP``, and at ``IPPROTO_IP`` and ``IPPROTO_IPV6``
`datagram`, `ping`   UDP sockets, and ping sockets: with the options that those have
`option`             the kinds of options; `tcp_info` packs one
===================  ==============================================================================

Those of TCP sockets follow. At ``SOL_SOCKET``:

===================  ==============================================================================
SO_ACCEPTCONN        read only: whether it listens
SO_DOMAIN, SO_TYPE,  read only: AF_INET or AF_INET6, SOCK_STREAM, IPPROTO_TCP
SO_PROTOCOL
SO_ERROR             read only: the connection's error, else the latest soft error; reading
                     clears it
SO_KEEPALIVE         keep-alive probes (RFC 9293 section 3.8.4)
SO_LINGER            off: after `close` queued data is still delivered, without limit. On with 0
                     seconds: `close` resets. On with more: if data is not acknowledged by then,
                     the connection is reset. `close` never blocks, as in trio;
                     call `Socket.wait_acknowledged` before it to wait
SO_OOBINLINE         on, unlike Linux: urgent data is in line (RFC 6093). Off: its last octet is
                     out of band, for ``recv(1, MSG_OOB)``
SO_RCVBUF,           octets, not doubled as Linux's are
SO_SNDBUF
SO_REUSEADDR         a port may be bound while connections of an earlier listener use it
SO_REUSEPORT         stored, without effect
===================  ==============================================================================

At ``IPPROTO_TCP``:

==================== ===============================================================================
TCP_CONGESTION       the congestion control's name, in octets: ``b"cubic"``, ``b"reno"``; it may be
                     changed at any time
TCP_CORK             only full segments are sent, until it is off again or for 200 ms at the most;
                     ``MSG_MORE`` does it for one `send`
TCP_DEFER_ACCEPT     seconds for which a listener waits for data before a connection is accepted;
                     rounded up to the time of a SYN,ACK retransmission
TCP_FASTOPEN         of a listener: connections that may be open before their handshake has ended
                     (RFC 7413); 0, the default, for none
TCP_FASTOPEN_CONNECT `connect` waits for the first data, and sends it in the SYN with a cookie
TCP_INFO             read only: Linux's ``struct tcp_info``; `Socket.tcp_info` has more
TCP_KEEPIDLE         idle seconds before the first keep-alive probe
TCP_KEEPINTVL        seconds between probes
TCP_KEEPCNT          unanswered probes until the connection is aborted
TCP_LINGER2          seconds that a closed connection waits in FIN-WAIT-2, 120 at the most; 0 for
                     the host's own number, and a negative one to reset it there
TCP_MAXSEG           the largest segment to announce; once connected, the largest to send
TCP_NODELAY          small segments do not wait for an ACK (Nagle's algorithm is off). Setting it
                     sends all queued data, also what TCP_CORK or ``MSG_MORE`` holds back
TCP_NOTSENT_LOWAT    octets not sent yet, beyond which `send` waits; 0 for no such limit
TCP_QUICKACK         every batch is acknowledged at once. It stays set, where Linux's soon
                     turns itself off
TCP_SYNCNT           retransmissions of a SYN
TCP_USER_TIMEOUT     milliseconds that data may go unacknowledged, wait for a closed window, or
                     keep-alive probes unanswered; and a SYN, at the most. 0: the host's defaults
==================== ===============================================================================

At ``IPPROTO_IP``:

===================  ==============================================================================
IP_TOS               the Differentiated Services field of what is sent; its ECN bits are TCP's own,
                     unchanged. `Socket.tcp_info` has that of the last segment received
IP_TTL               the time to live of what is sent, from 1 to 255; -1 for the host's default
===================  ==============================================================================

At ``IPPROTO_IPV6``, of AF_INET6 sockets; those above are for their IPv4 connections:

===================  ==============================================================================
IPV6_TCLASS          the traffic class of what is sent, as IP_TOS; -1 for 0
IPV6_UNICAST_HOPS    the hop limit of what is sent, from 0 to 255; -1 for the host's default
IPV6_V6ONLY          whether the socket is for IPv6 alone; off, as on Linux. It may be set before
                     the socket is bound
===================  ==============================================================================

Accepted connections inherit the options of their listener. Options that exist to tune a
kernel, and those that this stack does not have, are not ignored: they raise
ENOPROTOOPT, as an unknown option does on Linux. The exceptions are in `stream.NOTED`:
many programs set them, and they have no effect here.
"""
