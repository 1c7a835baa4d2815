"""A private network namespace, used from outside of it."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import trio

from tests.link.in_a_child import python, run_as_nobody
from tunstack.link.errors import SetupError
from tunstack.link.netns import NetworkNamespace, open_network_namespace

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def namespace() -> AsyncIterator[NetworkNamespace]:
    async with open_network_namespace() as namespace:
        yield namespace


@pytest.mark.kernel
async def test_our_own_process_stays_where_it_is(namespace: NetworkNamespace) -> None:
    before = os.readlink("/proc/self/ns/net")
    await namespace.open_tun("198.51.100.2/24")
    namespace.socket()
    assert os.readlink("/proc/self/ns/net") == before
    assert os.readlink(namespace.path) != before


@pytest.mark.kernel
async def test_a_kernel_socket_is_inside_and_loopback_is_up(namespace: NetworkNamespace) -> None:
    listener = namespace.socket()
    await listener.bind(("127.0.0.1", 0))
    listener.listen()
    client = namespace.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    await client.connect(listener.getsockname())
    server, _ = await listener.accept()
    with server:
        await client.send(b"inside")
        assert await server.recv(100) == b"inside"
    outside = trio.socket.socket()
    with outside, pytest.raises(ConnectionRefusedError):
        await outside.connect(listener.getsockname())


@pytest.mark.kernel
async def test_a_socket_that_the_kernel_refuses_is_an_os_error(namespace: NetworkNamespace) -> None:
    with pytest.raises(OSError, match="not supported") as caught:
        namespace.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_UDP)
    assert caught.value.errno == errno.EPROTONOSUPPORT
    assert not os.get_inheritable(namespace.socket().fileno())


@pytest.mark.kernel
async def test_kernel_parameters_are_read_and_set_inside(namespace: NetworkNamespace) -> None:
    name = "net.ipv4.ip_default_ttl"
    outside = await trio.Path("/proc/sys/net/ipv4/ip_default_ttl").read_text()
    assert namespace.sysctl(name) == "64"
    assert namespace.sysctl(name, 33) == "33"
    assert namespace.sysctl("net/ipv4/ip_default_ttl") == "33"
    assert await trio.Path("/proc/sys/net/ipv4/ip_default_ttl").read_text() == outside
    assert namespace.sysctl("net.ipv4.tcp_congestion_control", "reno") == "reno"


@pytest.mark.kernel
async def test_a_kernel_parameter_that_is_not_there_is_an_os_error(
    namespace: NetworkNamespace,
) -> None:
    with pytest.raises(FileNotFoundError, match="net/ipv4/no_such_thing"):
        namespace.sysctl("net.ipv4.no_such_thing")
    with pytest.raises(OSError, match="Invalid argument"):
        namespace.sysctl("net.ipv4.ip_default_ttl", "many")
    for name in ("kernel.hostname", "net", "net/../kernel/hostname", "net.ipv4.x y"):
        with pytest.raises(ValueError, match="no kernel parameter"):
            namespace.sysctl(name)


@pytest.mark.kernel
@pytest.mark.parametrize("with_nsenter", [True, False])
async def test_a_command_runs_inside_as_our_own_child(
    namespace: NetworkNamespace, monkeypatch: pytest.MonkeyPatch, with_nsenter: bool
) -> None:
    if not with_nsenter:
        monkeypatch.setenv("PATH", "/nowhere")
    done = await namespace.run_process(
        ["sh", "-c", "readlink /proc/self/ns/net; echo $PPID; cat; echo $GREETING; pwd; exit 3"],
        stdin=b"from stdin\n",
        capture_stdout=True,
        check=False,
        env={"PATH": os.defpath, "GREETING": "hello"},
        cwd="/usr",
    )
    place, parent, *rest = done.stdout.decode().splitlines()
    assert place == os.readlink(namespace.path)
    assert int(parent) == os.getpid()
    assert rest == ["from stdin", "hello", "/usr"]
    assert done.returncode == 3


@pytest.mark.kernel
async def test_a_failure_names_the_command_that_was_given(namespace: NetworkNamespace) -> None:
    with pytest.raises(subprocess.CalledProcessError, match=r"'\['false'\]'") as caught:
        await namespace.run_process(["false"])
    assert caught.value.cmd == ["false"]
    assert (await namespace.run_process("true")).args == "true"


@pytest.mark.kernel
async def test_a_shell_command_runs_as_with_trio(namespace: NetworkNamespace) -> None:
    done = await namespace.run_process("echo a | tr a b", shell=True, capture_stdout=True)
    assert done.stdout == b"b\n"
    with pytest.raises(TypeError, match="must be a string"):
        await namespace.run_process(["echo", "a"], shell=True)


@pytest.mark.kernel
async def test_a_missing_command_is_distinguished_from_a_failing_one(
    namespace: NetworkNamespace, tmp_path: Path
) -> None:
    with pytest.raises(FileNotFoundError, match="no-such-program"):
        await namespace.run_process(["no-such-program", "--help"])
    with pytest.raises(FileNotFoundError, match="sh"):
        await namespace.run_process(["sh"], env={"PATH": str(tmp_path)})
    (tmp_path / "data").write_text("no program")
    with pytest.raises(PermissionError, match="data"):
        await namespace.run_process([str(tmp_path / "data")])
    with pytest.raises(PermissionError, match="data"):
        await namespace.run_process(["data"], env={"PATH": f"/nowhere:{tmp_path}"})
    with pytest.raises(PermissionError):
        await namespace.run_process([str(tmp_path)])
    with pytest.raises(NotADirectoryError, match="data/x"):
        await namespace.run_process([str(tmp_path / "data" / "x")])
    with pytest.raises(FileNotFoundError, match="missing"):
        await namespace.run_process(["./missing"], cwd=str(tmp_path))
    with pytest.raises(ValueError, match="empty"):
        await namespace.run_process([])
    with pytest.raises(TypeError, match="executable"):
        await namespace.run_process(["true"], executable="false")


@pytest.mark.kernel
async def test_a_program_relative_to_the_given_folder_is_found(
    namespace: NetworkNamespace, tmp_path: Path
) -> None:
    (tmp_path / "script").write_text("#!/bin/sh\necho found\n")
    (tmp_path / "script").chmod(0o755)
    done = await namespace.run_process(["./script"], cwd=str(tmp_path), capture_stdout=True)
    assert done.stdout == b"found\n"


@pytest.mark.kernel
async def test_cancelling_ends_the_program_itself(namespace: NetworkNamespace) -> None:
    async with trio.open_nursery() as nursery:
        process: trio.Process = await nursery.start(namespace.run_process, ["sleep", "1000"])
        nursery.cancel_scope.cancel()
    assert process.returncode == -signal.SIGTERM


@pytest.mark.kernel
async def test_a_process_can_be_started_and_talked_to(namespace: NetworkNamespace) -> None:
    process = await namespace.open_process(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    await process.stdin.send_all(b"echo")
    assert await process.stdout.receive_some() == b"echo"
    await process.stdin.aclose()
    assert await process.wait() == 0
    await process.stdout.aclose()


@pytest.mark.kernel
async def test_namespaces_do_not_meet() -> None:
    async with open_network_namespace() as one, open_network_namespace() as other:
        assert os.readlink(one.path) != os.readlink(other.path)
        for namespace in (one, other):
            await namespace.open_tun("198.51.100.2/24", name="same")


async def test_an_interpreter_that_does_not_run_the_holder_is_a_setup_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    program = shutil.which("false")
    monkeypatch.setattr(sys, "executable", program)
    with pytest.raises(SetupError, match="ended at once"):
        async with open_network_namespace():
            pytest.fail("there is no namespace")


@pytest.mark.kernel
async def test_where_no_namespace_may_be_made_the_error_says_what_to_do(
    namespace: NetworkNamespace,
) -> None:
    """Limits of the number of namespaces hold for root too, in a user namespace of their own."""
    script = """
        import trio
        from tunstack.link.errors import SetupError
        from tunstack.link.netns import open_network_namespace

        async def main():
            try:
                async with open_network_namespace():
                    print("made")
            except SetupError as error:
                print(error)

        for kind in ("net", "user"):
            with open(f"/proc/sys/user/max_{kind}_namespaces", "w") as file:
                file.write("0")
        trio.run(main)
    """
    done = await trio.run_process(
        ["unshare", "--user", "--map-root-user", *python(script)], capture_stdout=True
    )
    (line,) = done.stdout.decode().splitlines()
    assert line.startswith("cannot make a network namespace: ")
    assert "sysctl" in line


@pytest.mark.kernel
def test_a_user_without_privileges_has_it_all() -> None:
    """An unprivileged user, with a device node that may be opened, and nothing else."""
    printed = run_as_nobody("""
        import os, trio
        from tests.link.packets import echo_request, ipv4
        from tunstack.link.errors import SetupError
        from tunstack.link.netns import open_network_namespace
        from tunstack.link.tun import open_tun

        async def main():
            async with open_network_namespace() as ns:
                link = await ns.open_tun("198.51.100.2/24")
                link.send([echo_request("198.51.100.2", "198.51.100.1", b"")])
                packets = []
                while not packets:
                    await link.wait_readable()
                    packets = ipv4(link.receive())
                print("echo reply", packets[0][20])
                ns.socket(type=3, proto=1)
                print("ttl", ns.sysctl("net.ipv4.ip_default_ttl", 33))
                where = await ns.run_process(["readlink", "/proc/self/ns/net"], capture_stdout=True)
                print("inside", where.stdout.decode().strip() == os.readlink(ns.path))
                await ns.run_process(["ip", "route", "add", "198.51.100.128/25", "dev", link.name])
                left = await ns.open_process(["sleep", "1000"])
            print("killed", await left.wait())
            try:
                open_tun("198.51.100.2/24")
            except SetupError as error:
                print(error)

        with open("/proc/self/status") as file:
            assert "CapEff:\\t0000000000000000" in file.read()
        assert os.geteuid() != 0
        trio.run(main)
    """)
    *done, refused = printed.splitlines()
    assert done == ["echo reply 0", "ttl 33", "inside True", "killed -9"]
    assert refused.startswith("no permission to make a TUN device here: use a private namespace")
