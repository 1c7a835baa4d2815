"""A stack on a link, under trio: here the clock and the event loop begin.

`Host` is what programs see, and has the documentation of all that it does. Behind it is a loop, of
classes that each add a subject to the one before: `Loop`, `ResolvingLoop`, `ControlledLoop`,
`DecidingLoop`, `SocketLoop`, `ProtocolLoop`, and last `HostLoop`, which sockets know as their
`Endpoint`. `loop_of` gives it to the packages above that build on more than the public names.

host            what programs open, on one page
lifetime        start and end, failures of the link, statistics
sockets         its sockets: made, connected, listening, served
loop            packets in batches from the link, packets out to it, timers, wake-ups
places          the addresses of a host, and the prefixes of its profiles, as they are given
opening         sockets that are bound or connected when they are returned
accepting       a task for each connection of a listener, started with its batch
happy_eyeballs  connecting to one of several addresses (RFC 8305)
control         packet rules, and the cable
verdicts        verdicts on SYNs
blame           whose exception comes out of the stack
protocols       connections by callbacks: servers and clients without tasks
serving         the behaviours of a port, while it is served
resolving       which resolver a host uses
polling         how often to read an idle device before sleeping
reading         waiting until applications have read what a batch has brought
taps            who sees its packets, all or one connection's
ss              its sockets as text, in the words of Linux's ss
turns           whether ACKs and replies may be deferred until the applications have had a turn
"""
