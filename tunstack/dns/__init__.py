"""A DNS server (RFC 1034, RFC 1035): zones, answers, misbehaviours; over any trio sockets.

==========  =======================================================================================
`names`     `Names`: the names that one is told, as zones; picklable
`parsing`   reads them: addresses, records, master files (RFC 1035 section 5)
`zones`     a zone's nodes, and the algorithm of a look-up (RFC 1034 section 4.3.2, RFC 4592)
`faults`    `Fault`: what a server does wrong for a name, for those who test resolvers
`answers`   `Responder`: a query's octets to a reply's. Sans-IO
`server`    `DnsServer`: the handlers of TCP connections and of UDP sockets
`sizes`     of messages
==========  =======================================================================================

dnspython has the formats of messages, of records and of master files. What arrives is checked
before it parses it: it would parse any number of records. It is imported when names are given that
have to be checked, or with the first query: a network of ``peer.test`` alone starts without it.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final

from tunstack.link.errors import SetupError

if find_spec("dns") is None:
    raise SetupError("names need dnspython: pip install 'tunstack[dns]'")

PEER: Final = "peer.test"
"""The name of the host itself, if it is not told otherwise; and of all below it."""
