"""tunstack: a TCP/IP endpoint in user space, in Python, on trio.

The Linux kernel on the other side of a TUN device sees a remote host, whose every packet this
program sends::

    async with tunstack.open_namespace() as ns:                # a private kernel network; no root
        async with ns.open_host("198.51.100.2/24") as host:    # a TUN device, and a stack behind it
            listeners = await host.open_tcp_listeners(80)
            stream = await host.open_tcp_stream("198.51.100.1", 8080)
            with host.socket_factory():                        # trio's sockets are the host's
                ...
            await ns.run_process(["curl", "http://198.51.100.2/"])

The folders. Each imports only from lines below its own; those joined by ``|`` are independent of
each other, and resolver is just below host (import-linter checks it: see pyproject.toml)::

    cli | pytest_plugin     the command line (click, rich) | fixtures for pytest
    bench | blocking        servers, load generators, lossy paths | hosts for programs without trio
    live                    a running host, as the page and the terminal show it
    apps                    echo, discard, chargen, dns, http, https, ASGI: over any trio stream
    conversation | virtual  TCP spoken by hand | networks of hosts in memory, in virtual time
    plot                    captures, traces and benchmarks on matplotlib axes
    capture                 packets and connections of captures and traces as typed rows
    ladder                  packets as a ladder of text, or as SVG
    deploy | simulator      namespaces, workers, certificates | two stacks on a virtual clock
    host                    the trio event loop and the host
    behaviours : resolver   how a port misbehaves, by name; DNS over a host's sockets
    dns | socket | protocol names, a DNS server | trio's sockets over a host | callbacks, sans-IO
    stack | path            one TCP/IP endpoint | impairments, bridges, captures
    wire | link             bytes to validated values and back | TUN devices, namespaces, memory
    tcp | udp | ip          RFC 9293 and its companions | RFC 768 | addresses, fragments, ICMP

``tcp``, ``udp``, ``ip``, ``wire`` and ``stack`` are sans-IO: time, randomness and packets are
arguments. mypyc can compile them (``make compile``); :mod:`tunstack.compiled` tells it of classes.
By :mod:`tunstack.lazy` packages import their public names on the first use.
trio is in ``link`` and ``path``, whose links wait, and in ``host`` and above. A packet passes
``link -> host -> stack -> wire (decode) -> tcp``, and back ``tcp -> stack -> wire (encode) ->
host -> link``.

Where a rule stands:

- An arriving segment: :mod:`tunstack.tcp.connection.arrival`, in the order of RFC 9293 section
  3.10.7. Challenge ACKs (RFC 5961): :mod:`tunstack.tcp.connection.challenge`, sent from there.
- The states and their transitions: :mod:`tunstack.tcp.connection.state`; opening and closing, as
  coroutines: :mod:`~tunstack.tcp.connection.handshake`, :mod:`~tunstack.tcp.connection.teardown`.
- What is sent and when: ``tcp/sender``; loss recovery: ``tcp/recovery``; congestion control:
  ``tcp/congestion``; reassembly and windows: ``tcp/receiver``; SYN queues, SYN cookies and Fast
  Open: ``tcp/listen``.
- A header: ``wire``, one file each; :mod:`tunstack.wire.ip` finds the family's. Extension headers:
  :mod:`tunstack.wire.extensions`. What differs between the families, as a value for each:
  :mod:`tunstack.ip.family`.
- UDP: a socket's state and receive queue: ``udp``; ports, demultiplexing and sending:
  :mod:`tunstack.stack.udp_ports`, :mod:`tunstack.stack.datagrams`. ICMP in and out:
  :mod:`tunstack.stack.paths`; ping sockets: :mod:`tunstack.stack.echo`; fragments in:
  :mod:`tunstack.stack.reassembly`. Another protocol would be a row
  beside it in the table of protocols in :mod:`tunstack.stack.engine`.
- What a wire does wrong to single packets: :mod:`tunstack.path.rules`; to all:
  :mod:`tunstack.path.impair`.
- What a host decides that no host in order does: about a SYN, :mod:`tunstack.host.verdicts`; about
  a connection, :mod:`tunstack.socket.verbs`. By name, for a port: :mod:`tunstack.behaviours`.
- Connections without a task, by callbacks in asyncio's words: :mod:`tunstack.protocol`; on a host
  :mod:`tunstack.host.protocols`.
- Names: :mod:`tunstack.dns` answers, :mod:`tunstack.resolver` asks; how programs in a namespace
  find them: :mod:`tunstack.link.resolv_conf`.
- Sockets of this process in a namespace: :mod:`tunstack.socket.kernel`; a thread in it:
  :mod:`tunstack.link.entering`; several hosts on one network: :mod:`tunstack.link.sharing`.
- Sockets of applications: :mod:`tunstack.socket`; their options:
  :mod:`tunstack.socket.options`, :mod:`~tunstack.socket.options.datagram` (UDP) and
  :mod:`~tunstack.socket.options.ping`.

Choices:

- ``stack | path`` stand side by side: a correct stack knows no impairments, and a path treats all
  stacks alike, the kernel's too. ``path`` imports ``wire`` to segment large packets before it drops
  some of them.
- ``deploy`` stands above ``host``: a namespace, a bridge or a worker opens hosts. ``simulator``
  stands beside it and needs neither host nor trio.
- ``SetupError`` is in ``link/errors.py``, because devices and namespaces raise it, and the holder
  process of a namespace must import little.
- The public names are imported on first use, so that a program that needs a `Config` does not
  import trio, and ``tunstack --version`` starts fast.
"""

from __future__ import annotations

TYPE_CHECKING = False  # Type checkers recognise the name; importing typing is slow.
if TYPE_CHECKING:
    from tunstack import behaviours as behaviours
    from tunstack import plot as plot
    from tunstack.behaviours import Behaviour
    from tunstack.capture import Capture, ConnectionRow, PacketRow, read_capture
    from tunstack.conversation.conversation import Conversation
    from tunstack.conversation.failure import ConversationError
    from tunstack.conversation.opening import (
        Conversations,
        open_conversation,
        open_conversations,
    )
    from tunstack.conversation.segment import TcpSegment
    from tunstack.deploy.authority import Authority
    from tunstack.deploy.bridge import Bridge, HostBridge, open_bridge, open_host_bridge
    from tunstack.deploy.namespace import Namespace, open_host, open_namespace
    from tunstack.deploy.workers.child import Worker
    from tunstack.deploy.workers.opening import open_workers
    from tunstack.deploy.workers.parent import Workers
    from tunstack.dns.names import Names
    from tunstack.dns.server import DnsServer
    from tunstack.host.host import Host
    from tunstack.host.verdicts import SynVerdict
    from tunstack.link.base import Link
    from tunstack.link.errors import SetupError
    from tunstack.link.pair import memory_pair
    from tunstack.path.impair import Impairments
    from tunstack.path.impaired import ImpairedLink
    from tunstack.path.rules import Packet, Rule, Rules, Selection
    from tunstack.protocol import Protocol, TimerHandle, Transport
    from tunstack.socket import Socket, TcpListener, TcpStream
    from tunstack.stack.limits import Limits
    from tunstack.stack.observation import Observation
    from tunstack.stack.profile import Profile
    from tunstack.tcp.config import Config
    from tunstack.tcp.congestion import Acknowledgement, CongestionControl, Cubic, Reno
    from tunstack.tcp.connection.state import State
    from tunstack.tcp.info import TcpInfo
    from tunstack.virtual.network import Network, open_network
    from tunstack.virtual.run import run_virtual

__version__ = "0.1.0"

__all__ = [
    "open_namespace",
    "Namespace",
    "open_host",
    "Host",
    "open_workers",
    "Workers",
    "Worker",
    "open_conversation",
    "open_conversations",
    "Conversation",
    "Conversations",
    "ConversationError",
    "TcpSegment",
    "Names",
    "DnsServer",
    "Socket",
    "TcpStream",
    "TcpListener",
    "Protocol",
    "Transport",
    "TimerHandle",
    "Config",
    "Limits",
    "Profile",
    "CongestionControl",
    "Acknowledgement",
    "Cubic",
    "Reno",
    "TcpInfo",
    "State",
    "Observation",
    "read_capture",
    "Capture",
    "ConnectionRow",
    "PacketRow",
    "plot",
    "Link",
    "memory_pair",
    "Impairments",
    "ImpairedLink",
    "Rules",
    "Rule",
    "Selection",
    "Packet",
    "SynVerdict",
    "behaviours",
    "Behaviour",
    "open_bridge",
    "Bridge",
    "open_host_bridge",
    "HostBridge",
    "run_virtual",
    "open_network",
    "Network",
    "Authority",
    "SetupError",
]

_MODULES = {
    name: module
    for module, names in {
        "behaviours": ("Behaviour",),
        "capture": ("Capture", "ConnectionRow", "PacketRow", "read_capture"),
        "conversation.conversation": ("Conversation",),
        "conversation.failure": ("ConversationError",),
        "conversation.opening": (
            "Conversations",
            "open_conversation",
            "open_conversations",
        ),
        "conversation.segment": ("TcpSegment",),
        "deploy.authority": ("Authority",),
        "deploy.bridge": (
            "Bridge",
            "HostBridge",
            "open_bridge",
            "open_host_bridge",
        ),
        "link.errors": ("SetupError",),
        "tcp.info": ("TcpInfo",),
        "host.host": ("Host",),
        "host.verdicts": ("SynVerdict",),
        "stack.limits": ("Limits",),
        "link.base": ("Link",),
        "path.impair": ("Impairments",),
        "path.impaired": ("ImpairedLink",),
        "path.rules": ("Packet", "Rule", "Rules", "Selection"),
        "link.pair": ("memory_pair",),
        "protocol": ("Protocol", "TimerHandle", "Transport"),
        "deploy.namespace": (
            "Namespace",
            "open_host",
            "open_namespace",
        ),
        "dns.names": ("Names",),
        "dns.server": ("DnsServer",),
        "stack.observation": ("Observation",),
        "stack.profile": ("Profile",),
        "socket": ("Socket", "TcpListener", "TcpStream"),
        "tcp.config": ("Config",),
        "tcp.congestion": (
            "Acknowledgement",
            "CongestionControl",
            "Cubic",
            "Reno",
        ),
        "tcp.connection.state": ("State",),
        "deploy.workers.child": ("Worker",),
        "deploy.workers.opening": ("open_workers",),
        "deploy.workers.parent": ("Workers",),
        "virtual.network": ("Network", "open_network"),
        "virtual.run": ("run_virtual",),
    }.items()
    for name in names
}
"""The module of each public name, which is imported on the first use of the name.

Ctrl-C during an import prints a traceback: the command line imports little before it handles it.
"""


_PACKAGES = ("behaviours", "plot")
"""The public names that are packages."""


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name in _PACKAGES:
        return import_module(f"tunstack.{name}")
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{module}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, "__version__"})
