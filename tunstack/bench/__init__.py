"""The benchmarks: tunstack beside the kernel's own sockets.

**The suite** (``tunstack bench``) runs one trio program (:mod:`~tunstack.bench.server`) in two
lanes, in two processes of one private namespace: over tunstack, and over kernel sockets. They serve
the same clients, which are the kernel's in both lanes, in turns: A B A B. What counts is the ratio
of the medians; this way a busy machine disturbs both alike.

The kernel's lane is the namespace's loopback, and no veth pair: that is what a program on this
machine would use instead, and it is the stricter yardstick. It moves 64 KiB at a time without
checksums, copies once each way, and wakes the server at once; a veth pair has a queue and an
interrupt more.

Requests are answered by a handler of a dozen lines, which looks for the blank line and sends an
answer that it has ready. A real HTTP library takes ten times as long as either stack: with h11 the
ratio would be that of h11 to itself.

wrk, ab and iperf3 make the load where they are installed (:mod:`~tunstack.bench.generators`), and
small clients of our own where not (:mod:`~tunstack.bench.load`): processes of their own, which do
little more than system calls.

**The loss benchmark** (``tunstack bench-loss``, :mod:`~tunstack.bench.loss`) measures goodput
across impaired paths.
"""

from __future__ import annotations
