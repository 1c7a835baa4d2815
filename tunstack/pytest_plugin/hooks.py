"""What pytest calls: options, and what is beside the tests."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator

    from tunstack.pytest_plugin.networks import Networks
    from tunstack.pytest_plugin.recording import Recorder

_RECORDER: Final[pytest.StashKey[Recorder]] = pytest.StashKey()
FAILED: Final = pytest.StashKey[bool]()
NETWORKS: Final[pytest.StashKey[Networks]] = pytest.StashKey()

_WIDEST: Final = 120
_NARROWEST: Final = 80


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("tunstack")
    group.addoption(
        "--tunstack-captures",
        metavar="DIR",
        type=Path,
        help="keep the packets of each failed test in a capture (pcapng) in this folder",
    )
    group.addoption(
        "--tunstack-required",
        action="store_true",
        help="fail tests that need a network namespace or a TUN device where there is none;"
        " by default they are skipped",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Refuse a folder that cannot be one."""
    folder: Path | None = config.getoption("--tunstack-captures")
    if folder is not None and folder.exists() and not folder.is_dir():
        raise pytest.UsageError(f"--tunstack-captures: {folder} is not a folder")


def recorder_of(config: pytest.Config) -> Recorder:
    """Return what records the packets of the session, created when it is first asked for."""
    if _RECORDER not in config.stash:
        from tunstack.pytest_plugin.recording import Recorder

        config.stash[_RECORDER] = Recorder()
    return config.stash[_RECORDER]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Begin with no packets; write the capture of a failed test when it is over."""
    recorder = item.config.stash.get(_RECORDER, None)
    if recorder is not None:
        recorder.begin()
    result = yield
    if item.stash.get(FAILED, False) and _RECORDER in item.config.stash:
        _capture(item)  # Again: with what its fixtures' ends have sent.
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the packets to the report of a failed test."""
    report = yield
    if report.failed:
        item.stash[FAILED] = True
        if (recorder := item.config.stash.get(_RECORDER, None)) is not None:
            report.sections += _section(item, recorder)
        if (networks := item.stash.get(NETWORKS, None)) is not None:
            report.sections += networks.sections(_width(item))
    return report


def _width(item: pytest.Item) -> int:
    return min(max(item.config.get_terminal_writer().fullwidth, _NARROWEST), _WIDEST)


def _section(item: pytest.Item, recorder: Recorder) -> list[tuple[str, str]]:
    from tunstack.ladder import symbols_for
    from tunstack.pytest_plugin.section import TITLE, OwnPackets, lines_of

    packets = OwnPackets(recorder.take())
    symbols = symbols_for(getattr(sys.__stdout__, "encoding", None))
    lines = lines_of(packets, _width(item), symbols)
    if packets.head and (written := _capture(item)):
        lines.append(written)
    return [(TITLE, "\n".join(lines))] if lines else []


def _capture(item: pytest.Item) -> str:
    """Write the capture, if it is wanted; returns a line about it."""
    folder: Path | None = item.config.getoption("--tunstack-captures")
    if folder is None:
        return ""
    from tunstack.pytest_plugin.section import OwnPackets, capture_path, write_capture

    path = capture_path(folder, item.nodeid)
    packets = OwnPackets(recorder_of(item.config).take())
    try:
        write_capture(path, packets)
    except OSError as error:
        return f"no capture: {path}: {error.strerror}"
    missing = f" ({packets.not_kept} packets are missing)" if packets.not_kept else ""
    return f"capture: {path}{missing}"
