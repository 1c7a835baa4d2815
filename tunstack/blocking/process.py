"""Run programs in a namespace, in the words of `subprocess.run`."""

from __future__ import annotations

import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import trio

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import tunstack
    from tunstack.blocking.handle import Handle

_PATIENCE: Final = 5.0
"""Seconds for a program to end when it is told to."""


def run_process(
    self: Handle[tunstack.Namespace],
    command: str | Sequence[str],
    *,
    input: str | bytes | None = None,
    capture_output: bool = False,
    text: bool = False,
    check: bool = True,
    timeout: float | None = None,
    **options: Any,
) -> subprocess.CompletedProcess[Any]:
    """Run a program in the namespace, and wait for it.

    Args:
        command: The program and its arguments.
        input: Its standard input, which is empty by default.
        capture_output: Whether to return its standard output and error.
        text: Whether these are text, in UTF-8.
        check: Whether to raise if it fails: as with `trio.run_process`, by default.
        timeout: Seconds after which it is killed.
        options: ``stdin``, ``stdout``, ``stderr``, ``env``, ``cwd``, ``shell``... as
            `subprocess.Popen` takes them.

    Raises:
        OSError: FileNotFoundError, PermissionError: the program itself.
        subprocess.CalledProcessError: its exit status is not 0.
        subprocess.TimeoutExpired: it took too long.
        trio.ClosedResourceError: the namespace has ended.
    """
    if input is not None:
        options["stdin"] = input.encode() if isinstance(input, str) else input
    if capture_output:
        options |= {"capture_stdout": True, "capture_stderr": True}
    limit = float("inf") if timeout is None else timeout

    async def run(namespace: tunstack.Namespace) -> subprocess.CompletedProcess[bytes]:
        with trio.fail_after(limit):
            return await namespace.run_process(command, check=False, **options)

    try:
        done: subprocess.CompletedProcess[Any] = self.run(run)
    except trio.TooSlowError:
        raise subprocess.TimeoutExpired(command, limit) from None
    if text:
        done.stdout, done.stderr = _text(done.stdout), _text(done.stderr)
    if check:
        done.check_returncode()
    return done


@contextmanager
def open_process(
    self: Handle[tunstack.Namespace], command: str | Sequence[str], **options: Any
) -> Iterator[subprocess.Popen[Any]]:
    """Run a program in the namespace while the block runs; arguments as of `subprocess.Popen`.

    At the end of the block it is terminated, and killed if it still runs five seconds later.

    Raises:
        OSError: FileNotFoundError, PermissionError: the program itself.
        trio.ClosedResourceError: the namespace has ended.
    """
    with subprocess.Popen(_command(self, command, options), **options) as process:
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()


def _command(
    self: Handle[tunstack.Namespace], command: str | Sequence[str], options: dict[str, Any]
) -> list[str]:
    def of(namespace: tunstack.Namespace) -> list[str]:
        return namespace.network.command(command, options)

    return self.ask(of)


def _text(output: bytes | None) -> str | None:
    return None if output is None else output.decode(errors="replace")
