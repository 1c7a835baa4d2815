"""Within a host's socket factory, no socket of the internet is the machine's, whoever makes it."""

from __future__ import annotations

import errno
import io
import socket
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import anyio
import pytest
import trio

from tests.socket.network import OURS, PORT, THEIRS, connected, fails, host_and_peer, host_pair
from tunstack import Socket
from tunstack.link.netlink import Netlink
from tunstack.socket.stdlib import StdlibSocket

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tunstack import Host

MAKERS = [trio.socket.socket, socket.socket]
INTERNET = {socket.AF_INET, socket.AF_INET6, socket.AF_PACKET}
REFUSED = [
    (errno.EAFNOSUPPORT, socket.AF_INET6, socket.SOCK_STREAM, 0),
    (errno.EAFNOSUPPORT, socket.AF_INET6, socket.SOCK_DGRAM, 0),
    (errno.EAFNOSUPPORT, socket.AF_PACKET, socket.SOCK_RAW, 0),
    (errno.EAFNOSUPPORT, 43, socket.SOCK_STREAM, 0),  # AF_SMC: TCP where the peer has nothing else
    (errno.EPROTONOSUPPORT, socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_UDPLITE),
    (errno.EPROTONOSUPPORT, socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP),
    (errno.EPROTONOSUPPORT, socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_SCTP),
    (errno.EPROTONOSUPPORT, socket.AF_INET, socket.SOCK_STREAM, 262),  # IPPROTO_MPTCP
]

_asked_of_the_kernel: list[int] = []
_is_watching = False


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "socket.__new__" and _is_watching:
        _asked_of_the_kernel.append(arguments[1])


sys.addaudithook(_watch)  # There is no way to remove one.


@contextmanager
def nothing_is_the_kernels() -> Iterator[None]:
    """Fail if the kernel is asked for a socket of the internet meanwhile; CPython tells of each."""
    global _is_watching
    _asked_of_the_kernel.clear()
    _is_watching = True
    try:
        yield
    finally:
        _is_watching = False
    assert INTERNET.isdisjoint(_asked_of_the_kernel)


def test_what_the_kernel_is_asked_for_is_seen() -> None:
    with pytest.raises(AssertionError), nothing_is_the_kernels(), socket.socket():
        pass


@pytest.mark.parametrize(("number", "family", "kind", "protocol"), REFUSED)
@pytest.mark.parametrize("make", MAKERS)
async def test_what_the_host_does_not_speak_is_refused(
    make: Callable[..., Any], number: int, family: int, kind: int, protocol: int
) -> None:
    async with host_and_peer() as (host, _):
        with host.socket_factory(), nothing_is_the_kernels(), fails(number):
            make(family, kind, protocol)


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("flags", [0, socket.SOCK_NONBLOCK, socket.SOCK_CLOEXEC])
async def test_tcp_over_ipv4_is_the_hosts(make: Callable[..., Any], flags: int) -> None:
    async with host_and_peer() as (host, _):
        with host.socket_factory(), nothing_is_the_kernels():
            for arguments in ((), (socket.AF_INET,), (socket.AF_INET, socket.SOCK_STREAM | flags)):
                sock = make(*arguments)
                assert isinstance(sock, (Socket, StdlibSocket))
                assert (sock.family, sock.type, sock.proto) == (socket.AF_INET, 1, 6)
                with sock:
                    assert sock.fileno() != -1
                assert sock.fileno() == -1


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("others", ["refuse", "kernel"])
async def test_unix_and_netlink_sockets_and_pairs_are_the_kernels(
    make: Callable[..., Any], others: Literal["refuse", "kernel"]
) -> None:
    async with host_and_peer() as (host, _):
        with host.socket_factory(others=others), nothing_is_the_kernels():
            for family, kind in (
                (socket.AF_UNIX, socket.SOCK_STREAM),
                (socket.AF_UNIX, socket.SOCK_DGRAM),
                (socket.AF_NETLINK, socket.SOCK_RAW),
            ):
                with make(family, kind) as sock:
                    assert not isinstance(sock, (Socket, StdlibSocket))
                    assert (sock.family, sock.type) == (family, kind)
            left, right = trio.socket.socketpair()
            await left.send(b"x")
            assert await right.recv(1) == b"x"
            for each in (left, right, *socket.socketpair()):
                each.close()


@pytest.mark.parametrize("make", MAKERS)
async def test_kernel_sockets_are_available_on_request(make: Callable[..., Any]) -> None:
    async with host_and_peer() as (host, _):
        with host.socket_factory(others="kernel"):
            assert isinstance(make(), (Socket, StdlibSocket))
            for family, kind in (
                (socket.AF_INET6, socket.SOCK_STREAM),
                (socket.AF_INET6, socket.SOCK_DGRAM),
            ):
                with make(family, kind) as sock:
                    assert not isinstance(sock, (Socket, StdlibSocket))
                    assert (sock.family, sock.type) == (family, kind)


async def test_only_these_two_can_be_asked_for() -> None:
    async with host_and_peer() as (host, _):
        before = trio.socket.socket
        with (
            pytest.raises(ValueError, match="'refuse' or 'kernel', not 'machine'"),
            host.socket_factory(others="machine"),  # type: ignore[arg-type]
        ):
            pass
        assert trio.socket.socket is before


async def test_what_has_a_descriptor_stays_what_it_is() -> None:
    with socket.socket() as kernels, socket.socket() as another:
        async with host_and_peer() as (host, _):
            with host.socket_factory():
                same = socket.socket(fileno=kernels.detach())
                assert type(same) is socket.socket
                wrapped = trio.socket.from_stdlib_socket(same)
                assert not isinstance(wrapped, Socket)
                wrapped.close()
                with trio.socket.fromfd(another.fileno(), another.family, another.type) as copy:
                    assert not isinstance(copy, Socket)


async def test_a_class_derived_from_the_stdlibs_is_refused_the_internet() -> None:
    class Derived(socket.socket):
        def __init__(self, what: str, family: int) -> None:
            super().__init__(family)
            self.what = what

    async with host_and_peer() as (host, _):
        with host.socket_factory():
            with fails(errno.EAFNOSUPPORT), nothing_is_the_kernels():
                Derived("one", socket.AF_INET)
            with Derived("other", socket.AF_UNIX) as sock:
                assert (sock.what, sock.family) == ("other", socket.AF_UNIX)


async def test_after_the_block_the_stdlib_is_as_before() -> None:
    def everything() -> list[Any]:
        return [
            socket.socket.__new__,
            socket.socket.__init__,
            trio.socket.from_stdlib_socket,
            trio.socket.getaddrinfo,
        ]

    before = everything()
    async with host_pair() as (ours, theirs):
        with pytest.raises(KeyError), ours.socket_factory():  # noqa: PT012
            with theirs.socket_factory():
                inner = socket.socket()
            outer = socket.socket()
            raise KeyError
        assert everything() == before
        inner.bind((THEIRS, PORT))
        outer.bind((OURS, PORT))
        assert (inner.getsockname()[0], outer.getsockname()[0]) == (THEIRS, OURS)
    with socket.socket() as sock:
        assert type(sock) is socket.socket


async def test_other_threads_and_runs_have_the_kernels() -> None:
    kinds: list[type] = []

    async def run() -> None:
        with trio.socket.socket() as sock:
            kinds.append(type(sock))

    def elsewhere() -> None:
        with socket.socket() as sock:
            kinds.append(type(sock))
        trio.run(run)

    with trio.socket.socket() as sock:
        kernels = type(sock)
    async with host_and_peer() as (host, _):
        with host.socket_factory():
            thread = threading.Thread(target=elsewhere)
            thread.start()
            thread.join()
    assert kinds == [socket.socket, kernels]


async def test_a_thread_of_trios_is_refused_the_internet() -> None:
    """A host's socket cannot block, and the kernel's is not wanted."""
    async with host_and_peer() as (host, _):
        with host.socket_factory():
            for family in (socket.AF_INET, socket.AF_INET6):
                with fails(errno.EAFNOSUPPORT), nothing_is_the_kernels():
                    await trio.to_thread.run_sync(socket.socket, family)
            unix = await trio.to_thread.run_sync(socket.socket, socket.AF_UNIX)
            unix.close()
        with host.socket_factory(others="kernel"):
            kernels = await trio.to_thread.run_sync(socket.socket)
            kernels.close()
        kernels = await trio.to_thread.run_sync(socket.socket)
        kernels.close()


async def test_a_task_that_outlives_the_block_has_the_kernels_in_threads() -> None:
    async with host_and_peer() as (host, _), trio.open_nursery() as nursery:
        over = trio.Event()

        async def work() -> None:
            await over.wait()
            kernels = await trio.to_thread.run_sync(socket.socket)
            kernels.close()

        with host.socket_factory():
            nursery.start_soon(work)
            await trio.lowlevel.checkpoint()
        over.set()


async def test_devices_can_be_made_and_looked_at_within_the_block() -> None:
    """That takes sockets of the kernel's, for requests about its interfaces."""
    async with host_and_peer() as (host, _):
        with host.socket_factory(), Netlink() as netlink:
            assert netlink.addresses() is not None


# What trio and anyio do of themselves


async def greet(stream: trio.SocketStream) -> None:
    await stream.send_all(b"hello")


@pytest.mark.parametrize("host", [None, "0.0.0.0", THEIRS])
async def test_trios_serve_tcp_listens_on_the_host_alone(host: str | None) -> None:
    """Though a look-up gives IPv6 as well."""
    async with host_pair() as (ours, theirs), trio.open_nursery() as nursery:
        with theirs.socket_factory(), nothing_is_the_kernels():
            listeners = await trio.open_tcp_listeners(PORT, host=host)
        assert [type(each.socket) for each in listeners] == [Socket]
        nursery.start_soon(trio.serve_listeners, greet, listeners)
        stream = await ours.open_tcp_stream(THEIRS, PORT)
        assert await stream.receive_some() == b"hello"
        nursery.cancel_scope.cancel()


async def test_listening_on_ipv6_only_is_refused() -> None:
    async with host_and_peer() as (host, _):
        with host.socket_factory(), nothing_is_the_kernels(), fails(errno.EAFNOSUPPORT):
            await trio.open_tcp_listeners(PORT, host="::")


class Names(trio.abc.HostnameResolver):
    """Gives a name's IPv6 address first, and then THEIRS."""

    async def getaddrinfo(
        self,
        host: bytes | None,
        port: bytes | str | int | None,
        family: int = 0,
        type: int = 0,
        proto: int = 0,
        flags: int = 0,
    ) -> list[Any]:
        assert host == b"both.example"
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("2001:db8::1", port, 0, 0)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (THEIRS, port)),
        ]

    async def getnameinfo(self, sockaddr: Any, flags: int) -> Any:
        raise NotImplementedError


async def open_by_trio(port: int) -> object:
    stream = await trio.open_tcp_stream("both.example", port)
    return stream.socket


async def open_by_anyio(port: int) -> object:
    stream = await anyio.connect_tcp("both.example", port)
    return trio.socket.from_stdlib_socket(stream.extra(anyio.abc.SocketAttribute.raw_socket))


@pytest.mark.parametrize("connect", [open_by_trio, open_by_anyio])
async def test_a_family_that_the_host_lacks_is_skipped(connect: Callable[[int], Any]) -> None:
    before = trio.socket.set_custom_hostname_resolver(Names())
    try:
        async with host_pair() as (ours, theirs):
            (listener,) = await theirs.open_tcp_listeners(PORT)
            with ours.socket_factory(), nothing_is_the_kernels():
                began = trio.current_time()
                assert isinstance(await connect(PORT), Socket)
                assert trio.current_time() < began + 0.25  # Happy eyeballs' delay.
            await listener.accept()
    finally:
        trio.socket.set_custom_hostname_resolver(before)


# The stdlib's side of a socket


async def test_it_tells_what_the_socket_tells() -> None:
    async with host_pair() as (ours, theirs):
        client, _ = await connected(ours, theirs)
        raw = client._sock
        assert raw is client._sock
        assert isinstance(raw, socket.socket)
        assert raw.getsockname() == client.getsockname()
        assert raw.getpeername() == client.getpeername()
        assert raw.fileno() == client.fileno()
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        assert client.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
        assert raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1) == b"\1"
        raw.shutdown(socket.SHUT_WR)
        assert client.did_shutdown_SHUT_WR
        raw.close()
        assert client.fileno() == raw.fileno() == -1


async def test_it_is_bound_listens_and_becomes_trios() -> None:
    async with host_pair() as (ours, theirs):
        with theirs.socket_factory():
            raw = socket.socket()
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            raw.bind(("", PORT))
            raw.setblocking(False)
            raw.set_inheritable(True)
            assert (raw.gettimeout(), raw.getblocking(), raw.get_inheritable()) == (0, False, False)
            raw.listen(10)
            listener = trio.SocketListener(trio.socket.from_stdlib_socket(raw))
        stream = await ours.open_tcp_stream(THEIRS, PORT)
        await stream.send_all(b"hello")
        assert await (await listener.accept()).receive_some() == b"hello"


@pytest.mark.parametrize("address", [(OURS, PORT), ("localhost", PORT)])
async def test_it_is_bound_only_to_what_is_the_hosts(address: tuple[str, int]) -> None:
    async with host_and_peer() as (host, _):
        with host.socket_factory():
            taken, raw = socket.socket(), socket.socket()
            taken.bind((OURS, PORT))
            number = errno.EADDRINUSE if address[0] == OURS else errno.EADDRNOTAVAIL
            with fails(number):
                raw.bind(address)
            with fails(errno.EINVAL):
                taken.bind((OURS, 81))


WAITING: list[Callable[[socket.socket], object]] = [
    lambda sock: sock.accept(),
    lambda sock: sock.connect((THEIRS, PORT)),
    lambda sock: sock.connect_ex((THEIRS, PORT)),
    lambda sock: sock.detach(),
    lambda sock: sock.dup(),
    lambda sock: sock.makefile(),
    lambda sock: sock.recv(1),
    lambda sock: sock.recv_into(bytearray(1)),
    lambda sock: sock.recvfrom(1),
    lambda sock: sock.recvfrom_into(bytearray(1)),
    lambda sock: sock.recvmsg(1),
    lambda sock: sock.recvmsg_into([bytearray(1)]),
    lambda sock: sock.send(b"x"),
    lambda sock: sock.sendall(b"x"),
    lambda sock: sock.sendfile(io.BytesIO()),
    lambda sock: sock.sendmsg([b"x"]),
    lambda sock: sock.sendto(b"x", (THEIRS, PORT)),
]


@pytest.mark.parametrize("call", WAITING)
async def test_what_would_have_to_wait_is_refused(call: Callable[[socket.socket], object]) -> None:
    async with host_and_peer() as (host, _):
        with host.socket_factory():
            raw = socket.socket()
        with fails(errno.EOPNOTSUPP) as caught:
            call(raw)
        assert "trio.socket.from_stdlib_socket" in str(caught.value)


def test_every_call_of_a_stdlib_socket_is_ours_or_refused() -> None:
    """None must reach the class beneath, whose errors would be about a descriptor."""
    public = {
        name
        for kind in (socket.socket, socket.SocketType)
        for name in vars(kind)
        if not name.startswith("_")
    }
    assert public <= set(vars(StdlibSocket))


async def test_anyio_listens_everywhere_on_the_host() -> None:
    async with host_pair() as (ours, theirs):
        with theirs.socket_factory(), nothing_is_the_kernels():
            listener = await anyio.create_tcp_listener(local_port=PORT)
        assert await say_hello_by_anyio(ours, listener) == b"HELLO"


async def say_hello_by_anyio(host: Host, listener: Any) -> bytes:
    async def shout(stream: anyio.abc.SocketStream) -> None:
        async for data in stream:
            await stream.send(data.upper())

    async with anyio.create_task_group() as group:
        group.start_soon(listener.serve, shout)
        with host.socket_factory(), nothing_is_the_kernels():
            async with await anyio.connect_tcp(THEIRS, PORT) as stream:
                assert stream.extra(anyio.abc.SocketAttribute.remote_address) == (THEIRS, PORT)
                await stream.send(b"hello")
                answer = await stream.receive()
        group.cancel_scope.cancel()
    return answer
