"""The pytest plugin: peers that a test controls, and their packets in the reports of failures.

pytest finds it by its entry point, where tunstack is installed. It imports next to nothing before
a test uses one of its fixtures::

    import requests

    def test_it_answers(tunstack_peer):
        peer = tunstack_peer("http")
        assert "It works" in requests.get(peer.url, timeout=5).text

The fixtures, all of them synchronous, for plain tests and for those of pytest-trio, pytest-asyncio
and anyio alike: the hosts run in threads of their own.

``tunstack_peer``
    Opens a host and serves something on it, as it behaves or misbehaves: `Peers`. While the test
    runs, Python's own sockets are in the peer's namespace (``tunstack_sockets``).
``tunstack_host``
    A host that serves nothing yet, a :class:`tunstack.blocking.Host`.
``tunstack_namespace``
    A private namespace, a :class:`tunstack.blocking.Namespace`. In it are the hosts and peers of a
    test that uses it; those of other tests share the session's, which is cheaper.
``tunstack_sockets``
    While it is used, the sockets of this process are in that namespace, and not on the machine.
``tunstack_session_namespace``, ``tunstack_session_host``, ``tunstack_session_peer``
    The same for the session.
``tunstack_network``
    Opens networks in virtual time, as :func:`tunstack.open_network` does, for trio tests: with
    pytest-trio and its ``autojump_clock``, or in :func:`tunstack.run_virtual`. `Networks` is its
    type.
``tunstack_names``
    The names of the namespaces; None. Override it, with the scope of the session:
    ``return {"api.test": "198.51.100.2"}``.

The report of a failed test has a section ``tunstack: packets``: what passed between the hosts and
the kernel in connections that were opened during the test, as ``tunstack trace`` draws it. With
``--tunstack-captures=DIR`` the same is kept as a capture for each failed test.

Where no namespace or no TUN device may be made the tests are skipped; with ``--tunstack-required``
they fail.

`hooks` are pytest's, `fixtures`, `peers` and `networks` the above. `recording` keeps the packets of
a test, and `section` shows them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunstack.pytest_plugin.fixtures import (
    _tunstack_network,
    _tunstack_own_network,
    _tunstack_session_network,
    tunstack_host,
    tunstack_names,
    tunstack_namespace,
    tunstack_network,
    tunstack_peer,
    tunstack_session_host,
    tunstack_session_namespace,
    tunstack_session_peer,
    tunstack_sockets,
)
from tunstack.pytest_plugin.hooks import (
    pytest_addoption,
    pytest_configure,
    pytest_runtest_makereport,
    pytest_runtest_protocol,
)

if TYPE_CHECKING:
    from tunstack.pytest_plugin.networks import Networks
    from tunstack.pytest_plugin.peers import Peer, Peers

__all__ = [
    "Peers",
    "Peer",
    "Networks",
    "_tunstack_network",
    "_tunstack_own_network",
    "_tunstack_session_network",
    "tunstack_host",
    "tunstack_names",
    "tunstack_namespace",
    "tunstack_network",
    "tunstack_peer",
    "tunstack_session_host",
    "tunstack_session_namespace",
    "tunstack_session_peer",
    "tunstack_sockets",
    "pytest_addoption",
    "pytest_configure",
    "pytest_runtest_makereport",
    "pytest_runtest_protocol",
]

_MODULES = {"Peers": "peers", "Peer": "peers", "Networks": "networks"}
"""The types of fixtures, for annotations: imported on first use."""


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
