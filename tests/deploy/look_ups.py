"""Look-ups of names by Python's `socket`, the same ones in this process and in another.

It is run as a script in the namespace, where glibc asks the host: what it finds is what
`Namespace.sockets` is to find without asking.
"""

from __future__ import annotations

import json
import socket
from typing import Any, Final

V4, V6, TCP = int(socket.AF_INET), int(socket.AF_INET6), int(socket.SOCK_STREAM)
CANONNAME, ADDRCONFIG = int(socket.AI_CANONNAME), int(socket.AI_ADDRCONFIG)
PASSIVE, NUMERIC = int(socket.AI_PASSIVE), int(socket.AI_NUMERICHOST)
V4MAPPED, ALL = int(socket.AI_V4MAPPED), int(socket.AI_ALL)
NAMEREQD, NUMERICHOST, NUMERICSERV = (
    int(each) for each in (socket.NI_NAMEREQD, socket.NI_NUMERICHOST, socket.NI_NUMERICSERV)
)

CALLS: Final[list[tuple[Any, ...]]] = [
    ("getaddrinfo", "www.test", 80),
    ("getaddrinfo", "WWW.Test", 80, 0, TCP),
    ("getaddrinfo", "www.test.", 80, 0, TCP),
    ("getaddrinfo", "www", 80, 0, TCP),
    ("getaddrinfo", "www.test", "http", 0, TCP),
    ("getaddrinfo", "www.test", None, 0, TCP),
    ("getaddrinfo", "www.test", "no-such-service", 0, TCP),
    ("getaddrinfo", "www.test", 80, V4, TCP),
    ("getaddrinfo", "www.test", 80, V6, TCP),
    ("getaddrinfo", "www.test", 80, int(socket.AF_UNIX), TCP),
    ("getaddrinfo", "www.test", 80, 0, TCP, 0, ADDRCONFIG),
    ("getaddrinfo", "www.test", 80, 0, TCP, 0, CANONNAME),
    ("getaddrinfo", "www.test", 80, 0, TCP, 0, NUMERIC),
    ("getaddrinfo", "alias.test", 80, 0, TCP, 0, CANONNAME),
    ("getaddrinfo", "chain.test", 80, 0, TCP, 0, CANONNAME),
    ("getaddrinfo", "anything.wild.test", 80, 0, TCP),
    ("getaddrinfo", "peer.test", 80, 0, TCP),
    ("getaddrinfo", "below.peer.test", 80, 0, TCP),
    ("getaddrinfo", "only4.test", 80, 0, TCP),
    ("getaddrinfo", "only4.test", 80, V6, TCP),
    ("getaddrinfo", "only4.test", 80, V6, TCP, 0, V4MAPPED),
    ("getaddrinfo", "www.test", 80, V6, TCP, 0, V4MAPPED),
    ("getaddrinfo", "www.test", 80, V6, TCP, 0, V4MAPPED | ALL),
    ("getaddrinfo", "only6.test", 80, V4, TCP),
    ("getaddrinfo", "text.test", 80, 0, TCP),
    ("getaddrinfo", "nosuch.test", 80, 0, TCP),
    ("getaddrinfo", "", 80, 0, TCP),
    ("getaddrinfo", "a..b", 80, 0, TCP),
    ("getaddrinfo", "198.51.100.9", 80, 0, TCP),
    ("getaddrinfo", "198.51.100.9", 80, V6, TCP),
    ("getaddrinfo", "127.1", 80, 0, TCP),
    ("getaddrinfo", "2001:db8::9", 80, 0, TCP),
    ("getaddrinfo", "2001:db8::9", 80, V6, TCP, 0, ADDRCONFIG),
    ("getaddrinfo", "fe80::1%lo", 80, 0, TCP),
    ("getaddrinfo", None, 80, 0, TCP),
    ("getaddrinfo", None, 80, 0, TCP, 0, PASSIVE),
    ("getaddrinfo", None, None),
    ("gethostbyname", "www.test"),
    ("gethostbyname", "www"),
    ("gethostbyname", ""),
    ("gethostbyname", "<broadcast>"),
    ("gethostbyname", "198.51.100.9"),
    ("gethostbyname", "nosuch.test"),
    ("gethostbyname", "localhost"),
    ("gethostbyname_ex", "www.test"),
    ("gethostbyname_ex", "alias.test"),
    ("gethostbyname_ex", "chain.test"),
    ("gethostbyname_ex", "www"),
    ("gethostbyname_ex", "198.51.100.9"),
    ("gethostbyname_ex", "nosuch.test"),
    ("gethostbyaddr", "198.51.100.2"),
    ("gethostbyaddr", "2001:db8::2"),
    ("gethostbyaddr", "www.test"),
    ("gethostbyaddr", "198.51.100.77"),
    ("gethostbyaddr", "nosuch.test"),
    ("getnameinfo", ("198.51.100.2", 80), 0),
    ("getnameinfo", ("198.51.100.2", 80), NUMERICHOST),
    ("getnameinfo", ("198.51.100.2", 80), NUMERICSERV),
    ("getnameinfo", ("198.51.100.77", 80), 0),
    ("getnameinfo", ("198.51.100.77", 80), NAMEREQD),
    ("getnameinfo", ("2001:db8::2", 80, 0, 0), 0),
    ("getnameinfo", ("www.test", 80), 0),
    ("getfqdn", "198.51.100.2"),
    ("getfqdn", "nosuch.test"),
]


def found(function: str, *arguments: Any) -> Any:
    """What a look-up finds: the result or the error, as JSON has it."""
    try:
        result = getattr(socket, function)(*arguments)
    except (OSError, UnicodeError) as error:
        return [type(error).__name__, getattr(error, "errno", None)]
    return json.loads(json.dumps(result))


if __name__ == "__main__":
    print(json.dumps([found(*call) for call in CALLS]))
