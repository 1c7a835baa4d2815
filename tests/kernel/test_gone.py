"""When a program with a host ends, however it ends, nothing of it is left: not on the machine, and
not in the kernel's view of the network. What a namespace alone leaves is tested with the links.
"""

from __future__ import annotations

import json
import os
import signal
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio

import tunstack
from tests.kernel.judge import KERNEL, OURS
from tests.link.in_a_child import started
from tests.link.test_netns_end import devices, eventually, is_running, kept
from tunstack.apps import echo

if TYPE_CHECKING:
    from tunstack import Host, Namespace

pytestmark = pytest.mark.kernel


async def have_it_all(ns: Namespace, host: Host, nursery: trio.Nursery) -> int:
    """A server, a connection in each role, and a program that runs, whose pid is returned."""
    await nursery.start(host.serve_tcp, echo.handler, 7)
    client, listener = ns.socket(), ns.socket()
    await client.connect((OURS, 7))
    await listener.bind((KERNEL, 0))
    listener.listen()
    await host.open_tcp_stream(*listener.getsockname())
    nursery.start_soon(partial(ns.run_process, ["sleep", "1000"], check=False))
    done = await ns.run_process(
        "setsid sleep 1000 >/dev/null 2>&1 & echo $!", shell=True, capture_stdout=True
    )
    return int(done.stdout)


@pytest.mark.parametrize("how", ["return", "raise", "cancel"])
async def test_the_end_of_the_block_is_the_end_of_it_all(how: str) -> None:
    with trio.CancelScope() as scope:
        try:
            async with tunstack.open_namespace() as ns:
                with kept(ns.pid) as place:
                    async with ns.open_host(name="doomed") as host, trio.open_nursery() as nursery:
                        sleeper = await have_it_all(ns, host, nursery)
                        assert devices(place) == ["lo", "doomed"]
                        if how == "raise":
                            raise KeyError
                        if how == "cancel":
                            scope.cancel()
                            await trio.sleep_forever()
                        nursery.cancel_scope.cancel()
                    assert devices(place) == ["lo"]
        except* KeyError:
            assert how == "raise"
    assert host.connections() == []
    assert not is_running(ns.pid)
    assert not is_running(sleeper)


PROGRAM = """
    import trio, tunstack
    from tests.kernel.test_gone import have_it_all

    async def main():
        async with tunstack.open_namespace() as ns, ns.open_host(name="doomed") as host:
            async with trio.open_nursery() as nursery:
                sleeper = await have_it_all(ns, host, nursery)
                print([ns.pid, sleeper], flush=True)
                await trio.sleep_forever()

    trio.run(main)
"""


@pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name
)
def test_a_signal_to_the_program_is_the_end_of_it_all(number: signal.Signals) -> None:
    with started(PROGRAM) as (program, output):
        holder, sleeper = json.loads(output.readline())
        assert is_running(holder)
        assert is_running(sleeper)
        program.send_signal(number)
        program.wait()
    eventually(lambda: not is_running(holder) and not is_running(sleeper))


@pytest.mark.skipif(os.geteuid() != 0, reason="to look into a dead program's namespace takes root")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=lambda number: number.name)
def test_a_signal_to_the_program_is_the_end_of_its_device(number: signal.Signals) -> None:
    with started(PROGRAM) as (program, output):
        holder, _ = json.loads(output.readline())
        with kept(holder) as place:
            assert devices(place) == ["lo", "doomed"]
            program.send_signal(number)
            program.wait()
            eventually(lambda: not is_running(holder))
            assert devices(place) == ["lo"]
