"""Peers of a test: hosts that serve something."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Interface, ip_interface
from typing import TYPE_CHECKING, Any, Final

from tunstack.deploy.addresses import default_addresses

if TYPE_CHECKING:
    from contextlib import ExitStack

    import tunstack
    from tunstack.behaviours import BehaviourLike
    from tunstack.blocking import Host, Namespace, Service
    from tunstack.blocking.service import Handler

_MOST: Final = 253
"""Addresses in 198.51.100.0/24 for hosts: the first is the kernel's."""


@dataclass(frozen=True)
class Peer:
    """A host that serves something.

    Attributes:
        host: The host, for its verbs, its connections and its statistics.
        service: What it serves.
        namespace: Where programs reach it: ``peer.namespace.run_process(["curl", peer.url])``.
    """

    host: Host
    service: Service
    namespace: Namespace

    def __repr__(self) -> str:
        return f"<Peer {self.url}>"

    @property
    def url(self) -> str:
        """Of HTTP, as ``"http://198.51.100.2/"``; of others as ``"tcp://198.51.100.2:7"``."""
        return self.service.url

    @property
    def address(self) -> tuple[str, int]:
        """Address and port, as `socket.create_connection` takes them."""
        return self.service.address

    @property
    def port(self) -> int:
        """Its port."""
        return self.service.port

    @property
    def authority(self) -> tunstack.Authority:
        """Who issued its certificate: clients verify it with ``peer.authority.bundle``."""
        return self.host.authority


class Network:
    """Opens hosts in a namespace: 198.51.100.2 and 2001:db8::2, then 198.51.100.3 and so on."""

    def __init__(self, namespace: Namespace) -> None:
        self.namespace = namespace
        self._used: set[int] = set()

    def open_host(self, stack: ExitStack, *addresses: str, **options: Any) -> Host:
        """Open a host until the stack is closed; arguments as of `tunstack.Namespace.open_host`."""
        if not addresses:
            number = next(each for each in range(_MOST + 1) if each not in self._used)
            if number == _MOST:
                raise ValueError(f"{_MOST} hosts are open: give further ones addresses")
            addresses = self._addresses(number, options.get("mtu"))
            self._used.add(number)
            stack.callback(self._used.discard, number)
        host = stack.enter_context(self.namespace.open_host(*addresses, **options))
        stack.callback(host.abort)  # The test is over: nobody waits for FINs.
        return host

    def _addresses(self, number: int, mtu: int | None) -> tuple[str, ...]:
        return tuple(
            f"2001:db8::{number + 2:x}/64"
            if isinstance(ip_interface(each), IPv6Interface)
            else f"198.51.100.{number + 2}/24"
            for each in default_addresses(mtu, sysctl=self.namespace.sysctl)
        )


class Peers:
    """Opens peers: what the fixture ``tunstack_peer`` is."""

    def __init__(self, networks: Network, stack: ExitStack, seed: int) -> None:
        self._network = networks
        self._stack = stack
        self._seed = seed
        self._opened: list[Peer] = []

    def __repr__(self) -> str:
        return f"<Peers {self._opened}>"

    def __call__(
        self,
        serve: Handler | str,
        port: int | None = None,
        *,
        behaviour: BehaviourLike = None,
        addresses: tuple[str, ...] = (),
        seed: int | None = None,
        **options: Any,
    ) -> Peer:
        """Open a host, and serve something on it, until the end of the test.

        Args:
            serve: An app by its name, as ``"http"`` or ``"echo:7000"``; or a handler, as
                :meth:`tunstack.blocking.Host.serve_tcp` takes it.
            port: Of a handler; by default any that is free.
            behaviour: How it misbehaves, as ``"reset-after=4096"``: ``tunstack behaviours`` lists
                what there is.
            addresses: The host's, with prefixes; by default such as no other host of the
                fixtures has.
            seed: Of all that is random in the host; by default it is made of the test's name, so
                that a test is repeated as it was.
            options: ``impair="loss=10%"``, ``config``, ``mtu``... as of
                :meth:`tunstack.Namespace.open_host`.

        Raises:
            ValueError: there is no such app or behaviour; an option is invalid.
        """
        seed = self._seed if seed is None else seed
        host = self._network.open_host(self._stack, *addresses, seed=seed, **options)
        if port is None and not isinstance(serve, str):
            port = 0
        service = host.serve_tcp(serve, port, behaviour=behaviour)
        peer = Peer(host, service, self._network.namespace)
        self._opened.append(peer)
        return peer
