"""The fixtures."""

from __future__ import annotations

import zlib
from contextlib import ExitStack
from typing import TYPE_CHECKING, NoReturn

import pytest

from tunstack.pytest_plugin.hooks import recorder_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tunstack.blocking import Host, Namespace
    from tunstack.deploy.naming import NamesLike
    from tunstack.pytest_plugin.peers import Networks, Peers


@pytest.fixture(scope="session")
def tunstack_names() -> NamesLike | None:
    """The names of the namespaces of tests; none, unless this is overridden."""
    return None


def _networks(stack: ExitStack, config: pytest.Config, names: NamesLike | None) -> Networks:
    """Open a namespace, and return its networks."""
    from tunstack import blocking
    from tunstack.pytest_plugin.peers import Networks

    opened = blocking.open_namespace(names, watch=recorder_of(config).watch)
    return Networks(stack.enter_context(opened))


@pytest.fixture(scope="session")
def _tunstack_session_networks(
    pytestconfig: pytest.Config, tunstack_names: NamesLike | None
) -> Iterator[Networks]:
    """The session's; where there can be none, the tests that use it are skipped."""
    from tunstack import SetupError
    from tunstack.deploy.naming import as_names

    names = None if tunstack_names is None else as_names(tunstack_names)
    with ExitStack() as stack:
        try:
            networks = _networks(stack, pytestconfig, names)
            with ExitStack() as tried:
                networks.open_host(tried)
        except SetupError as error:
            _cannot(pytestconfig, str(error))
        yield networks


def _cannot(config: pytest.Config, reason: str) -> NoReturn:
    if config.getoption("--tunstack-required"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest.fixture
def _tunstack_own_networks(
    pytestconfig: pytest.Config,
    tunstack_names: NamesLike | None,
    _tunstack_session_networks: Networks,
) -> Iterator[Networks]:
    """Those of a private namespace, where there can be one."""
    with ExitStack() as stack:
        yield _networks(stack, pytestconfig, tunstack_names)


@pytest.fixture
def _tunstack_networks(
    request: pytest.FixtureRequest, _tunstack_session_networks: Networks
) -> Networks:
    """The test's: of its own namespace if it has one, else of the session's."""
    if "tunstack_namespace" in request.fixturenames:
        own: Networks = request.getfixturevalue("_tunstack_own_networks")
        return own
    return _tunstack_session_networks


def _seed(request: pytest.FixtureRequest) -> int:
    return zlib.crc32(request.node.nodeid.encode())


@pytest.fixture
def tunstack_namespace(_tunstack_own_networks: Networks) -> Namespace:
    """A private network namespace, in which the hosts and peers of the test are."""
    return _tunstack_own_networks.namespace


@pytest.fixture
def tunstack_sockets(_tunstack_networks: Networks) -> Iterator[None]:
    """While it is used, the sockets of this process are in the namespace of the test's peers."""
    with _tunstack_networks.namespace.sockets():
        yield


@pytest.fixture
def tunstack_host(request: pytest.FixtureRequest, _tunstack_networks: Networks) -> Iterator[Host]:
    """A host with an address of each family, until the end of the test."""
    with ExitStack() as stack:
        yield _tunstack_networks.open_host(stack, seed=_seed(request))


@pytest.fixture
def tunstack_peer(
    request: pytest.FixtureRequest, _tunstack_networks: Networks, tunstack_sockets: None
) -> Iterator[Peers]:
    """Open peers, until the end of the test: ``tunstack_peer("http").url``."""
    from tunstack.pytest_plugin.peers import Peers

    with ExitStack() as stack:
        yield Peers(_tunstack_networks, stack, _seed(request))


@pytest.fixture(scope="session")
def tunstack_session_namespace(_tunstack_session_networks: Networks) -> Namespace:
    """The namespace in which are the hosts and peers of all tests that have none of their own."""
    return _tunstack_session_networks.namespace


@pytest.fixture(scope="session")
def tunstack_session_host(_tunstack_session_networks: Networks) -> Iterator[Host]:
    """A host with an address of each family, until the end of the session."""
    with ExitStack() as stack:
        yield _tunstack_session_networks.open_host(stack)


@pytest.fixture(scope="session")
def tunstack_session_peer(
    request: pytest.FixtureRequest, _tunstack_session_networks: Networks
) -> Iterator[Peers]:
    """Open peers, until the end of the session."""
    from tunstack.pytest_plugin.peers import Peers

    with ExitStack() as stack:
        yield Peers(_tunstack_session_networks, stack, _seed(request))
