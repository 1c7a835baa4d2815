"""tunstack: a TCP/IP endpoint in user space, in Python, on trio.

The Linux kernel on the other side of a TUN device sees a genuine remote host, whose every packet
this program sends::

    async with tunstack.open_namespace() as ns:             # a private kernel network; no root
        async with ns.open_host("198.51.100.2/24") as host:    # a TUN device, and a stack behind it
            listeners = await host.open_tcp_listeners(80)
            stream = await host.open_tcp_stream("198.51.100.1", 8080)
            with host.socket_factory():                     # every trio.socket made here is its own
                ...
            await ns.run_process(["curl", "http://198.51.100.2/"])

The layers, each of which imports only those to its right::

    cli, apps -> namespace, host, socket -> loop, stack -> wire -> tcp, ip
                               host, loop -> link

- :mod:`tunstack.tcp` is RFC 9293, sans-IO: read :mod:`~tunstack.tcp.connection.arrival` for the
rules, and
  :mod:`~tunstack.tcp.connection.handshake` and :mod:`~tunstack.tcp.connection.teardown` for the
  story.
- :mod:`tunstack.ip` has addresses, ICMP and the demultiplexer, sans-IO.
- :mod:`tunstack.wire` turns bytes into validated values and back.
- :mod:`tunstack.stack.stack` joins them to an endpoint, still sans-IO; beside it are what it is
made of:
  :mod:`~tunstack.stack.opening` begins connections, :mod:`~tunstack.stack.paths` has ICMP and what
  it tells, :mod:`~tunstack.stack.output` what leaves, :mod:`~tunstack.stack.time_wait` what is over
  but for the wait.
- :mod:`tunstack.link` carries packets: TUN devices, memory; namespaces and captures.
- :mod:`tunstack.deploy.workers` runs a host in several processes.
- :mod:`tunstack.host.loop` is the trio event loop between a link and a stack,
:mod:`tunstack.host.host` what
  people use of it, and :mod:`tunstack.socket` trio's socket over that.
"""

from __future__ import annotations

TYPE_CHECKING = False  # as type checkers know it, without importing typing
if TYPE_CHECKING:
    from tunstack.deploy.bridge import Bridge, HostBridge, open_bridge, open_host_bridge
    from tunstack.deploy.namespace import Namespace, open_host, open_namespace
    from tunstack.deploy.workers.child import Worker
    from tunstack.deploy.workers.opening import open_workers
    from tunstack.deploy.workers.parent import Workers
    from tunstack.host.host import Host
    from tunstack.link.base import Link
    from tunstack.link.errors import SetupError
    from tunstack.link.pair import memory_pair
    from tunstack.path.impair import Impairments
    from tunstack.path.impaired import ImpairedLink
    from tunstack.socket import Socket
    from tunstack.stack.flow import TcpInfo
    from tunstack.stack.limits import Limits
    from tunstack.stack.observation import Observation
    from tunstack.tcp.config import Config
    from tunstack.tcp.congestion import Acknowledgement, CongestionControl, Cubic, Reno
    from tunstack.tcp.connection.state import State

__version__ = "0.1.0"

__all__ = [
    "open_namespace",
    "Namespace",
    "open_host",
    "Host",
    "open_workers",
    "Workers",
    "Worker",
    "Socket",
    "Config",
    "Limits",
    "CongestionControl",
    "Acknowledgement",
    "Cubic",
    "Reno",
    "TcpInfo",
    "State",
    "Observation",
    "Link",
    "memory_pair",
    "Impairments",
    "ImpairedLink",
    "open_bridge",
    "Bridge",
    "open_host_bridge",
    "HostBridge",
    "SetupError",
]

_WHERE = {
    name: module
    for module, names in {
        "deploy.bridge": (
            "Bridge",
            "HostBridge",
            "open_bridge",
            "open_host_bridge",
        ),
        "link.errors": ("SetupError",),
        "stack.flow": ("TcpInfo",),
        "host.host": ("Host",),
        "stack.limits": ("Limits",),
        "link.base": ("Link",),
        "path.impair": ("Impairments",),
        "path.impaired": ("ImpairedLink",),
        "link.pair": ("memory_pair",),
        "deploy.namespace": (
            "Namespace",
            "open_host",
            "open_namespace",
        ),
        "stack.observation": ("Observation",),
        "socket": ("Socket",),
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
    }.items()
    for name in names
}
"""The module of each public name: imported when the name is asked for first, and not before.

``tunstack --version`` shall not import a host, nor a program that wants a `Config` all of trio; and
the less is imported before the command line has its say, the less an interrupt can hit.
"""


def __getattr__(name: str) -> object:
    from importlib import import_module

    module = _WHERE.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{module}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, "__version__"})
