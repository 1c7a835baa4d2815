"""The fixtures."""

from __future__ import annotations

import zlib
from contextlib import ExitStack
from typing import TYPE_CHECKING, NoReturn

import pytest

from tunstack.pytest_plugin.hooks import FAILED, NETWORKS, recorder_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tunstack.blocking import Host, Namespace
    from tunstack.deploy.naming import NamesLike
    from tunstack.pytest_plugin.networks import Networks
    from tunstack.pytest_plugin.peers import Network, Peers


@pytest.fixture(scope="session")
def tunstack_names() -> NamesLike | None:
    """The names of the namespaces of tests; none, unless this is overridden."""
    return None


def _network(stack: ExitStack, config: pytest.Config, names: NamesLike | None) -> Network:
    """Open a namespace for hosts."""
    from tunstack import blocking
    from tunstack.pytest_plugin.peers import Network

    opened = blocking.open_namespace(names, watch=recorder_of(config).watch)
    return Network(stack.enter_context(opened))


@pytest.fixture(scope="session")
def _tunstack_session_network(
    pytestconfig: pytest.Config, tunstack_names: NamesLike | None
) -> Iterator[Network]:
    """The session's; where there can be none, the tests that use it are skipped."""
    from tunstack import SetupError
    from tunstack.deploy.naming import as_names

    names = None if tunstack_names is None else as_names(tunstack_names)
    with ExitStack() as stack:
        try:
            network = _network(stack, pytestconfig, names)
            with ExitStack() as tried:
                network.open_host(tried)
        except SetupError as error:
            _cannot(pytestconfig, str(error))
        yield network


def _cannot(config: pytest.Config, reason: str) -> NoReturn:
    if config.getoption("--tunstack-required"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest.fixture
def _tunstack_own_network(
    pytestconfig: pytest.Config,
    tunstack_names: NamesLike | None,
    _tunstack_session_network: Network,
) -> Iterator[Network]:
    """That of a private namespace, where there can be one."""
    with ExitStack() as stack:
        yield _network(stack, pytestconfig, tunstack_names)


@pytest.fixture
def _tunstack_network(
    request: pytest.FixtureRequest, _tunstack_session_network: Network
) -> Network:
    """The test's: of its own namespace if it has one, else of the session's."""
    if "tunstack_namespace" in request.fixturenames:
        own: Network = request.getfixturevalue("_tunstack_own_network")
        return own
    return _tunstack_session_network


def _seed(request: pytest.FixtureRequest) -> int:
    return zlib.crc32(request.node.nodeid.encode())


@pytest.fixture
def tunstack_namespace(_tunstack_own_network: Network) -> Namespace:
    """A private network namespace, in which the hosts and peers of the test are."""
    return _tunstack_own_network.namespace


@pytest.fixture
def tunstack_sockets(_tunstack_network: Network) -> Iterator[None]:
    """While it is used, the sockets of this process are in the namespace of the test's peers."""
    with _tunstack_network.namespace.sockets():
        yield


@pytest.fixture
def tunstack_host(request: pytest.FixtureRequest, _tunstack_network: Network) -> Iterator[Host]:
    """A host with an address of each family, until the end of the test."""
    with ExitStack() as stack:
        yield _tunstack_network.open_host(stack, seed=_seed(request))


@pytest.fixture
def tunstack_peer(
    request: pytest.FixtureRequest, _tunstack_network: Network, tunstack_sockets: None
) -> Iterator[Peers]:
    """Open peers, until the end of the test: ``tunstack_peer("http").url``."""
    from tunstack.pytest_plugin.peers import Peers

    with ExitStack() as stack:
        yield Peers(_tunstack_network, stack, _seed(request))


@pytest.fixture
def tunstack_network(request: pytest.FixtureRequest) -> Iterator[Networks]:
    """Open networks of hosts in virtual time: `tunstack.open_network`, for trio tests.

    The report of a failed test shows their packets and sockets.
    """
    from tunstack.pytest_plugin.networks import Networks

    folder = request.config.getoption("--tunstack-captures")
    networks = request.node.stash[NETWORKS] = Networks(request.node.nodeid, folder)
    yield networks
    if not request.node.stash.get(FAILED, False):
        networks.forget()


@pytest.fixture(scope="session")
def tunstack_session_namespace(_tunstack_session_network: Network) -> Namespace:
    """The namespace in which are the hosts and peers of all tests that have none of their own."""
    return _tunstack_session_network.namespace


@pytest.fixture(scope="session")
def tunstack_session_host(_tunstack_session_network: Network) -> Iterator[Host]:
    """A host with an address of each family, until the end of the session."""
    with ExitStack() as stack:
        yield _tunstack_session_network.open_host(stack)


@pytest.fixture(scope="session")
def tunstack_session_peer(
    request: pytest.FixtureRequest, _tunstack_session_network: Network
) -> Iterator[Peers]:
    """Open peers, until the end of the session."""
    from tunstack.pytest_plugin.peers import Peers

    with ExitStack() as stack:
        yield Peers(_tunstack_session_network, stack, _seed(request))
