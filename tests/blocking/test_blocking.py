"""Namespaces and hosts in a program that knows no trio."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
import threading
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

from tunstack import Observation, blocking

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tunstack import Host as AsyncHost
    from tunstack import Namespace as AsyncNamespace
    from tunstack.blocking import Host, Namespace, Stream

pytestmark = pytest.mark.kernel


@pytest.fixture(scope="module")
def ns() -> Iterator[Namespace]:
    with blocking.open_namespace() as ns:
        yield ns


@pytest.fixture
def host(ns: Namespace) -> Iterator[Host]:
    with ns.open_host() as host:
        yield host


def said(ns: Namespace, address: tuple[str, int], text: str = "") -> str:
    """What a service answers to a program."""
    command = ["socat", "-t5", "-", "TCP:{}:{}".format(*address)]
    answer = ns.run_process(command, input=text, capture_output=True, text=True, check=False)
    return str(answer.stdout)


def test_an_app_is_served_by_its_name(ns: Namespace, host: Host) -> None:
    http = host.serve_tcp("http:8080")
    assert http.url == "http://198.51.100.2:8080/"
    page = ns.run_process(["curl", "-sS", http.url], capture_output=True, text=True).stdout
    assert "It works" in page


def test_a_port_given_with_an_app_counts(ns: Namespace, host: Host) -> None:
    assert host.serve_tcp("echo", 7000).address == ("198.51.100.2", 7000)
    assert host.serve_tcp("http").url == "http://198.51.100.2/"


def test_an_app_over_tls_verifies_against_the_authority(ns: Namespace, host: Host) -> None:
    https = host.serve_tcp("https")
    assert host.authority is ns.authority
    command = ["curl", "-sS", "--cacert", str(ns.authority.certificate), https.url]
    assert "It works" in ns.run_process(command, capture_output=True, text=True).stdout


def test_a_function_serves_connections_in_a_thread(ns: Namespace, host: Host) -> None:
    def shout(stream: Stream) -> None:
        assert threading.current_thread() is not threading.main_thread()
        stream.send_all(stream.receive_exactly(3).upper())

    assert said(ns, host.serve_tcp(shout, 0).address, "abc") == "ABC"


def test_a_trio_handler_serves_connections_in_the_loop(ns: Namespace, host: Host) -> None:
    async def shout(stream: trio.SocketStream) -> None:
        await stream.send_all(bytes(await stream.receive_some()).upper())

    assert said(ns, host.serve_tcp(shout, 0).address, "abc") == "ABC"


def test_a_function_that_returns_a_coroutine_is_told(
    ns: Namespace, host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    async def serve(stream: trio.SocketStream) -> None: ...

    service = host.serve_tcp(lambda stream: serve(stream), 0)
    said(ns, service.address)
    assert "appears to be asynchronous" in caplog.text


def test_a_handler_without_a_port_is_an_error(host: Host) -> None:
    with pytest.raises(ValueError, match="on which port"):
        host.serve_tcp(lambda stream: None)
    with pytest.raises(ValueError, match="no app is called 'hhtp'"):
        host.serve_tcp("hhtp")


def test_a_closed_service_refuses_and_its_port_is_free(ns: Namespace, host: Host) -> None:
    with host.serve_tcp("echo"), pytest.raises(OSError, match="Address already in use"):
        host.serve_tcp("echo")
    refused = ns.run_process(
        ["socat", "-", "TCP:198.51.100.2:7"], check=False, capture_output=True, text=True
    )
    assert "Connection refused" in refused.stderr
    host.serve_tcp("echo").close()


def test_a_host_connects_to_a_program(ns: Namespace, host: Host) -> None:
    with pytest.raises(ConnectionRefusedError):
        host.open_tcp_stream("198.51.100.1", 7000)

    command = ["socat", "-T5", "TCP-LISTEN:7000,reuseaddr", "PIPE"]
    with ns.open_process(command) as program:
        stream = eventually(lambda: host.open_tcp_stream("198.51.100.1", 7000))
        with stream:
            assert stream.remote == ("198.51.100.1", 7000)
            stream.send_all(b"hello")
            assert stream.receive_exactly(5) == b"hello"
            stream.send_eof()
            assert stream.receive_some() == b""
    assert program.returncode is not None


def eventually(connect: Callable[[], Stream]) -> Stream:
    """Try until a program listens."""
    while True:
        try:
            return connect()
        except ConnectionRefusedError:
            threading.Event().wait(0.01)


def test_the_connections_of_a_service_are_there_while_they_are_served(
    ns: Namespace, host: Host
) -> None:
    echo = host.serve_tcp("echo")
    assert echo.connections == []
    client = ns.run(connected, echo.address)
    first = echo.wait_accepted(timeout=5)
    assert echo.connections == [first]
    assert first.remote == client.getsockname()
    assert [each.state for each in host.connections()] == ["ESTABLISHED"]
    with pytest.raises(TimeoutError):
        echo.wait_accepted(2, timeout=0.01)
    ns.run(closed, client)


async def connected(inner: AsyncNamespace, address: tuple[str, int]) -> trio.socket.SocketType:
    """A kernel socket that is connected."""
    sock = inner.socket()
    await sock.connect(address)
    return sock


async def closed(inner: AsyncNamespace, sock: trio.socket.SocketType) -> None:
    sock.close()


def test_statistics_are_those_of_the_host(ns: Namespace, host: Host) -> None:
    assert said(ns, host.serve_tcp("echo").address, "abc") == "abc"
    assert host.statistics()["packets_received"] >= 3


def test_datagrams_are_served(ns: Namespace, host: Host) -> None:
    async def shout(sock: trio.socket.SocketType) -> None:
        while True:
            data, sender = await sock.recvfrom(100)
            await sock.sendto(data.upper(), sender)

    service = host.serve_udp(shout, 0)
    assert ns.run(answer_to, service.address, b"abc") == b"ABC"


async def answer_to(inner: AsyncNamespace, address: tuple[str, int], data: bytes) -> bytes:
    """The answer to a datagram."""
    with inner.socket(type=socket.SOCK_DGRAM) as sock:
        await sock.connect(address)
        await sock.send(data)
        with trio.fail_after(5):
            return await sock.recv(100)


# What fails


def test_what_the_body_raises_comes_out_as_it_was(ns: Namespace) -> None:
    with pytest.raises(ZeroDivisionError) as caught, ns.open_host():
        raise ZeroDivisionError
    assert all("portal" not in str(entry.path) for entry in caught.traceback)


def failing(seen: Observation) -> None:
    if seen.packet[0] >> 4 == 4:  # Not for what a kernel sends on each new device.
        raise LookupError("the tap")


@contextmanager
def a_syn_to(ns: Namespace, address: tuple[str, int]) -> Iterator[None]:
    """Have a client that does not wait."""
    with ns.sockets(), socket.socket() as client:
        client.setblocking(False)
        client.connect_ex(address)
        yield


def test_what_ends_the_host_comes_out_of_a_call_that_waits(ns: Namespace) -> None:
    stack = ExitStack()
    host = stack.enter_context(ns.open_host(tap=failing))
    echo = host.serve_tcp("echo")
    with a_syn_to(ns, echo.address), pytest.raises(LookupError, match="the tap"):
        echo.wait_accepted()
    with pytest.raises(LookupError, match="the tap"):
        stack.close()


def test_what_ends_the_host_comes_out_of_its_block(ns: Namespace) -> None:
    stack = ExitStack()
    host = stack.enter_context(ns.open_host(tap=failing))
    rule = host.rules.call(lambda packet: packet, direction="in", flags="SYN")
    with a_syn_to(ns, host.serve_tcp("echo").address):
        while not rule.removed:  # They are, when the host ends.
            threading.Event().wait(0.01)
    with pytest.raises(LookupError, match="the tap"):
        stack.close()


def test_a_namespace_that_is_left_ends_its_hosts() -> None:
    left_open = ExitStack()
    with blocking.open_namespace() as ns:
        host = left_open.enter_context(ns.open_host())
        echo = host.serve_tcp("echo")
    for call in (host.statistics, host.connections, echo.wait_accepted):
        with pytest.raises(trio.ClosedResourceError, match="has ended"):
            call()
    with pytest.raises(trio.ClosedResourceError), ns.open_host():
        pass
    left_open.close()


def test_a_program_that_fails_or_takes_too_long_raises_as_with_subprocess(ns: Namespace) -> None:
    with pytest.raises(subprocess.CalledProcessError) as failed:
        ns.run_process(["sh", "-c", "echo no >&2; exit 3"], capture_output=True, text=True)
    assert failed.value.stderr == "no\n"
    with pytest.raises(subprocess.TimeoutExpired):
        ns.run_process(["sleep", "60"], timeout=0.05)
    with pytest.raises(FileNotFoundError):
        ns.run_process(["no-such-program"])
    with pytest.raises(FileNotFoundError), ns.open_process(["no-such-program"]):
        pass


def test_a_blocking_call_in_the_loop_itself_is_an_error(ns: Namespace, host: Host) -> None:
    echo = host.serve_tcp("echo")

    async def wrong(inner: AsyncHost) -> None:
        assert host.statistics()
        echo.wait_accepted()

    with pytest.raises(RuntimeError, match="use the async API there"):
        host.run(wrong)


def test_a_program_ends_with_its_block(ns: Namespace) -> None:
    with ns.open_process("echo ready; exec sleep 60", shell=True, stdout=-1, text=True) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
        assert program.poll() is None
    assert program.returncode == -signal.SIGTERM


# Beside other loops


async def test_a_trio_program_may_use_it(ns: Namespace, host: Host) -> None:
    echo = host.serve_tcp("echo")
    assert await trio.to_thread.run_sync(said, ns, echo.address, "abc") == "abc"
    assert host.statistics()["packets_received"] >= 3


def test_an_asyncio_program_may_use_it(ns: Namespace, host: Host) -> None:
    async def main() -> None:
        echo = host.serve_tcp("echo")
        assert await asyncio.to_thread(said, ns, echo.address, "abc") == "abc"
        assert host.statistics()["packets_received"] >= 3

    asyncio.run(main())


# Ctrl-C

INTERRUPTED = """
import sys, time
from tunstack import blocking

def handler(stream):
    stream.receive_some()

with blocking.open_namespace() as ns, ns.open_host() as host:
    service = host.serve_tcp(handler, 80)
    print(ns.pid, flush=True)
    {wait}
"""


@pytest.mark.parametrize("wait", ["time.sleep(60)", "service.wait_accepted()"])
def test_ctrl_c_leaves_nothing_behind(wait: str) -> None:
    program = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED.format(wait=wait)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with program:
        assert program.stdout is not None
        holder = int(program.stdout.readline())
        program.send_signal(signal.SIGINT)
        _, errors = program.communicate(timeout=10)
    assert errors.strip().endswith("KeyboardInterrupt")
    assert not Path(f"/proc/{holder}").exists()
