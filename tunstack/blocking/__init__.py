"""Namespaces and hosts for programs that know no trio: the same verbs, without ``async``.

A thread runs one trio loop, and in it all hosts of a namespace::

    from tunstack import blocking

    with blocking.open_namespace() as ns, ns.open_host() as host:
        http = host.serve_tcp("http", 80)             # an app; or a function, or a trio handler
        ns.run_process(["curl", http.url])
        with host.open_tcp_stream("198.51.100.1", 8080) as stream:
            stream.send_all(b"hello")

What is an ``async with`` statement in the async API is a ``with`` statement here; a block that is
left ends all below it. What ends a host early, as an exception of its tap, comes out of the calls
that wait in it, and at the latest out of its ``with`` statement. What waits takes a `timeout` in
seconds, as there are no cancel scopes, and raises TimeoutError; Ctrl-C cancels it.

Any thread may call. One that runs a trio or asyncio loop then waits as in any blocking function.
What has no method here is done by :meth:`Host.run`.

===============  ================================================================
`namespace`      namespaces, and hosts in them
`host`           a host
`service`        what it serves
`stream`         one connection
`rules`          rules on its packets
`conversation`   a connection by hand
`process`        programs in a namespace
`handle`         makes synchronous methods of those of the async API
`portal`         crosses the threads
===============  ================================================================
"""

from __future__ import annotations

from tunstack.blocking.conversation import Conversation
from tunstack.blocking.host import Host
from tunstack.blocking.namespace import Namespace, open_host, open_namespace
from tunstack.blocking.rules import Rule, Rules
from tunstack.blocking.service import Service
from tunstack.blocking.stream import Stream

__all__ = [
    "open_namespace",
    "Namespace",
    "open_host",
    "Host",
    "Service",
    "Stream",
    "Rules",
    "Rule",
    "Conversation",
]
