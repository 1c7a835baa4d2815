"""A stub resolver over a host's own sockets (RFC 1034 section 5.3.1), as trio's hostname resolver.

==========  =======================================================================================
`resolver`  `Resolver`: getaddrinfo and getnameinfo
`look_ups`  addresses of a name, CNAME chains, both families at once; the name of an address
`exchange`  one question to the name servers: retries, UDP, and TCP for what is truncated
`messages`  queries, and whether a message is the answer to one
`cache`     answers, and that there are none (RFC 2308), for as long as their TTL says
`ordering`  the order of several addresses (RFC 6724 section 6)
`known`     names that are known without asking, for what cannot wait
`wanted`    arguments and errors as getaddrinfo(3) has them
==========  =======================================================================================

What keeps others from answering in place of the name server (RFC 5452): each query is sent from a
socket of its own, whose port the host chooses at random, and which is connected to the server, so
that the stack drops what comes from elsewhere; the id and the case of each letter of the name
(DNS 0x20) are random, and must come back. After 20 wrong answers the query goes over TCP, as it
does when nothing but the case is wrong.
"""
