"""Benchmarks: tunstack compared with kernel sockets.

**The suite** (``tunstack bench``) runs one trio program (:mod:`~tunstack.bench.server`) over two
backends, tunstack and kernel sockets, in two processes of one private namespace. Both serve the
same clients on kernel sockets, alternately (A B A B), so that a busy machine affects both alike;
the ratio of the medians is the result.

The kernel's backend is the namespace's loopback, not a veth pair: it is what a program on this
machine would use, and the faster of the two. It passes 64 KiB at a time without checksums, copies
once each way, and wakes the server at once; a veth pair adds a queue and a softirq.

HTTP requests are answered by a handler of a dozen lines, which looks for the blank line and sends a
constant; in the group ``serve_tcp`` by the same handler, but on `Host.serve_tcp` beside
`trio.serve_tcp`, where all others have trio's own streams and listeners over sockets of the socket
factory; in the group ``protocol`` by a class of as many lines, on `Host.serve_protocol` beside
trio over kernel sockets, and, where uvloop is installed (the extra ``bench``), beside asyncio's
Protocol on it. A real HTTP library takes ten times as long as either stack, and would hide the
ratio.

wrk, ab and iperf3 generate the load where they are installed (:mod:`~tunstack.bench.generators`),
otherwise small clients of our own (:mod:`~tunstack.bench.load`): processes of their own, which do
little more than system calls.

**The loss benchmark** (``tunstack bench-loss``, :mod:`~tunstack.bench.loss`) measures goodput
across impaired paths.

    suite       runs the groups of cases      loss, fast   lossy paths; fast paths
    cases       what is measured              pool         processes for transfers
    rows        the table, the targets        transfer     one transfer across a bridge
    figures     the ratios as SVG             stream       a transfer's end on a kernel socket
    running     servers and clients           plot         goodput as SVG
    server      the measured program          profiling    profiles of the server
    generators  wrk, ab, iperf3               sampling     the sampling profiler
    load        our own clients               iperf        iperf3's protocol, the server's side
    tls         the services over TLS         ports        the services' ports
    answering   HTTP by callbacks             uvloop_server  the same by asyncio, on uvloop
    usage       CPU time and memory           groups       the names of groups of cases
"""

from __future__ import annotations
