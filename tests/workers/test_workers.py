"""A host in several processes, with the kernel as its peer."""

from __future__ import annotations

import errno
import os
import signal
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio

import tunstack
from tests.compiled import is_compiled
from tests.link.in_a_child import run_as_nobody, started
from tests.link.test_netns_end import eventually, is_running
from tests.workers import services
from tunstack.cli.output.counting import error_number
from tunstack.stack.paths import Paths

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.kernel

OURS = "198.51.100.2"
MANY = 48
"""Connections; that two workers are not both needed for them happens once in 2**47 times."""
TIMEOUT = 60


@pytest.fixture
async def namespace() -> AsyncIterator[tunstack.Namespace]:
    with trio.fail_after(TIMEOUT):
        async with tunstack.open_namespace() as namespace:
            yield namespace


class Client:
    """A connection of the kernel's, and the worker that has the other end."""

    def __init__(self, stream: trio.SocketStream, worker: int) -> None:
        self.stream = stream
        self.worker = worker

    async def is_answered(self) -> bool:
        """Whether what is sent comes back; False after a RST."""
        try:
            await self.stream.send_all(b"again")
            return await self.stream.receive_some() == b"again"
        except trio.BrokenResourceError as error:
            if error_number(error) != errno.ECONNRESET:
                raise
            return False


@asynccontextmanager
async def clients(namespace: tunstack.Namespace, count: int = MANY) -> AsyncIterator[list[Client]]:
    async with AsyncExitStack() as stack:
        opened = []
        for _ in range(count):
            sock = namespace.socket()
            stream = await stack.enter_async_context(trio.SocketStream(sock))
            await sock.connect((OURS, services.PORT))
            opened.append(Client(stream, (await stream.receive_some(1))[0]))
        yield opened


async def test_connections_are_dealt_out_and_stay(namespace: tunstack.Namespace) -> None:
    async with namespace.open_workers(services.echo, 2) as workers, clients(namespace) as opened:
        assert {each.worker for each in opened} == {0, 1}
        assert all([await each.is_answered() for each in opened])
        infos = await workers.connections()
        assert sorted(info.remote[1] for info in infos) == sorted(
            each.stream.socket.getsockname()[1] for each in opened
        )
        assert (await workers.statistics())["tcp_accepted"] >= 2 * MANY


async def test_a_connection_that_was_idle_for_longer_than_the_kernel_remembers_it_stays(
    namespace: tunstack.Namespace,
) -> None:
    """The kernel forgets after three seconds to which queue a flow belongs."""
    async with namespace.open_workers(services.echo, 3), clients(namespace) as opened:
        assert len({each.worker for each in opened}) == 3
        await trio.sleep(4.2)
        assert all([await each.is_answered() for each in opened])


async def test_a_dead_worker_loses_its_own_connections_only_and_is_restarted(
    namespace: tunstack.Namespace, caplog: pytest.LogCaptureFixture
) -> None:
    async with namespace.open_workers(services.echo, 2) as workers, clients(namespace) as opened:
        first, second = workers.pids
        assert first is not None
        os.kill(first, signal.SIGKILL)
        assert all([await each.is_answered() for each in opened if each.worker == 1])
        # The successor answers what had been its predecessor's: it knows nothing of that.
        assert not any([await each.is_answered() for each in opened if each.worker == 0])
        async with clients(namespace) as later:
            assert {each.worker for each in later} == {0, 1}
        assert workers.pids[0] not in (None, first)
        assert workers.pids[1] == second
    assert f"worker 0 (process {first}) was killed by SIGKILL; it is restarted now" in (
        caplog.messages
    )


async def test_who_connects_while_no_worker_is_there_is_served_by_the_successors(
    namespace: tunstack.Namespace,
) -> None:
    async with namespace.open_workers(services.echo, 2) as workers:
        for pid in workers.pids:
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
        async with clients(namespace, 4) as opened:
            assert all([await each.is_answered() for each in opened])


async def test_statistics_add_up_and_those_of_the_dead_are_not_lost(
    namespace: tunstack.Namespace,
) -> None:
    service = partial(services.count, of="tested")
    async with namespace.open_workers(service, 3) as workers:
        before = await workers.statistics()
        assert (before["tested"], before["memory_held"]) == (111, 111)
        pid = workers.pids[1]
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        while workers.pids[1] in (pid, None):  # noqa: ASYNC110
            await trio.sleep(0.01)
        while (after := await workers.statistics())["memory_held"] != 111:
            assert after["tested"] == 111
            assert after["memory_held"] == 101
        # The successor counts its own, and holds what it holds.
        assert after["tested"] == 121
    assert (await workers.statistics())["tested"] == 121
    assert workers.pids == [None] * 3


async def test_the_parent_receives_the_workers_messages_until_their_end(
    namespace: tunstack.Namespace,
) -> None:
    heard: list[tuple[int, Any]] = []
    async with namespace.open_workers(
        services.talk, 2, on_message=lambda number, what: heard.append((number, what))
    ):
        assert sorted(heard, key=str) == [(0, {"begun": 0}), (1, {"begun": 1})]
        heard.clear()
    assert sorted(heard, key=str) == [(0, {"ended": 0}), (1, {"ended": 1})]


@pytest.mark.skipif(is_compiled(Paths), reason="a method of a compiled object cannot be set")
async def test_an_icmp_error_that_is_not_for_one_worker_is_shown_to_the_others(
    namespace: tunstack.Namespace,
) -> None:
    send, receive = trio.open_memory_channel[tuple[int, bytes]](10)
    async with namespace.open_workers(
        services.hand_on, 2, on_message=lambda number, what: send.send_nowait((number, what))
    ):
        with namespace.socket() as client:
            await client.connect((OURS, services.PORT))
            receiver, packet = await receive.receive()
    assert packet == b"packet from %d" % (1 - receiver)
    assert receive.statistics().current_buffer_used == 0


async def test_each_worker_has_chances_of_its_own_and_the_same_in_each_run(
    namespace: tunstack.Namespace,
) -> None:
    runs: list[dict[int, int]] = []
    for _ in range(2):
        rolled: dict[int, int] = {}
        async with namespace.open_workers(services.roll, 2, seed=4, on_message=rolled.__setitem__):
            pass
        runs.append(rolled)
    assert runs[0] == runs[1]
    assert runs[0][0] != runs[0][1]


async def test_a_worker_cannot_connect_as_the_answer_would_go_to_another(
    namespace: tunstack.Namespace,
) -> None:
    heard: dict[int, tuple[int, str]] = {}
    async with namespace.open_workers(services.connect, 1, on_message=heard.__setitem__):
        pass
    assert heard[0][0] == errno.EOPNOTSUPP
    assert "a worker only listens: 198.51.100.1 port 80" in heard[0][1]


async def test_a_worker_that_never_serves_is_an_error(
    namespace: tunstack.Namespace,
) -> None:
    with pytest.raises(tunstack.SetupError, match=r"worker . \(process .* before it served"):
        async with namespace.open_workers(services.refuse, 2):
            pytest.fail("it opened")


async def test_what_the_caller_raises_comes_through_as_it_is(
    namespace: tunstack.Namespace,
) -> None:
    with pytest.raises(KeyError, match="mine"):  # noqa: PT012
        async with namespace.open_workers(services.talk, 2) as workers:
            pids = workers.pids
            raise KeyError("mine")
    assert not any(is_running(pid) for pid in pids if pid is not None)


async def test_the_end_of_the_device_is_the_end_of_all(
    namespace: tunstack.Namespace, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(OSError, match="the device doomed was deleted") as caught:  # noqa: PT012
        async with namespace.open_workers(services.echo, 2, name="doomed"):
            await namespace.run_process(["ip", "link", "delete", "doomed"])
            await trio.sleep_forever()
    assert caught.value.errno == errno.ENODEV
    assert capfd.readouterr().err == 2 * "doomed failed: [Errno 19] the device doomed was deleted\n"


def test_a_user_without_privileges_has_workers() -> None:
    printed = run_as_nobody("""
        import trio, tunstack
        from tests.workers import services

        async def main():
            async with tunstack.open_namespace() as ns, ns.open_workers(services.echo, 2):
                with ns.socket() as client:
                    await client.connect(("198.51.100.2", services.PORT))
                    print(await client.recv(1) in (b"\\0", b"\\1"))

        trio.run(main)
    """)
    assert printed == "True\n"


PARENT = """
    import trio, tunstack
    from tests.workers import services

    async def main():
        async with tunstack.open_namespace() as ns, ns.open_workers(services.echo, 2) as workers:
            print(ns.pid, *workers.pids, flush=True)
            await trio.sleep_forever()

    trio.run(main)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=lambda n: n.name)
def test_workers_do_not_outlive_their_parent(number: signal.Signals) -> None:
    with started(PARENT) as (parent, output):
        pids = [int(word) for word in output.readline().split()]
        assert all(map(is_running, pids))
        parent.send_signal(number)
        parent.wait()
    eventually(lambda: not any(map(is_running, pids)))
