"""Networks in virtual time of a test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tunstack
from tunstack.pytest_plugin.section import TITLE, capture_path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tunstack import Network

SOCKETS = "tunstack: sockets"


class Networks:
    """Opens networks of hosts in memory: what the fixture ``tunstack_network`` is.

    Args:
        test: The test's name, of which those of captures are made.
        captures: The folder for captures; None for none.
    """

    def __init__(self, test: str, captures: Path | None) -> None:
        self._test = test
        self._captures = captures
        self._opened: list[Network] = []
        self._files: list[Path] = []

    def __call__(self, *networks: str, **options: Any) -> Network:
        """Return a network to be opened with ``async with``.

        Arguments and errors are those of :func:`tunstack.open_network`.
        """
        if self._captures is not None and options.get("capture") is None:
            self._captures.mkdir(parents=True, exist_ok=True)
            number = len(self._opened) + 1
            path = capture_path(self._captures, f"{self._test}-network-{number}")
            options["capture"] = path
            self._files.append(path)
        network = tunstack.open_network(*networks, **options)
        self._opened.append(network)
        return network

    def sections(self, width: int) -> Iterator[tuple[str, str]]:
        """The sections of the report of a failed test: packets, and sockets as they were then."""
        opened = [each for each in self._opened if each.hosts]
        packets = [each.ladder(width=width).rstrip() for each in opened]
        packets += [f"capture: {path}" for path in self._files if path.exists()]
        if packets:
            yield TITLE, "\n".join(packets)
        if sockets := [each.ss().rstrip() for each in opened]:
            yield SOCKETS, "\n".join(sockets)

    def forget(self) -> None:
        """Delete the captures: the test has passed."""
        for path in self._files:
            path.unlink(missing_ok=True)
