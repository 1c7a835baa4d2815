"""The reference is complete: what there is in the package is on its pages, and nothing else."""

from __future__ import annotations

import importlib
import re
import socket
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.docs.snippets import DOCS, ROOT
from tests.test_public_names import public_names
from tunstack import Host, ImpairedLink, memory_pair
from tunstack.cli import status
from tunstack.cli.root import summaries
from tunstack.deploy import authority

if TYPE_CHECKING:
    from pathlib import Path

REFERENCE: Final = DOCS / "reference"
ADDRESSES: Final = ["198.51.100.2/24", "2001:db8::2/64"]

NUMBERS: Final = {
    **{"IP_PKTINFO": 8, "IP_MTU_DISCOVER": 10, "IP_RECVERR": 11, "IP_RECVTTL": 12, "IP_MTU": 14},
    **{"IPV6_MTU_DISCOVER": 23, "IPV6_MTU": 24, "IPV6_RECVERR": 25},
    **{"TCP_FASTOPEN": 23, "TCP_FASTOPEN_CONNECT": 30, "UDP_SEGMENT": 103, "UDP_GRO": 104},
}
"""Linux's, where Python has no names."""


def page(name: str) -> str:
    return (REFERENCE / f"{name}.md").read_text()


def rows(text: str) -> list[list[str]]:
    """The rows of a page's tables, without their heads, as cells."""
    found = re.findall(r"^\| (`.*) \|$", text, re.M)
    return [re.split(r" \| ", row) for row in found]


def named(cell: str) -> list[str]:
    return re.findall(r"`(\w+)`", cell)


# The API


def documented(folder: Path) -> set[str]:
    """The names that the pages of a folder have by autodoc."""
    text = "".join(each.read_text() for each in sorted(folder.glob("*.md")))
    return set(re.findall(r"^\.\. auto(?:class|function|data):: (\S+)$", text, re.M))


def missing_names(folder: Path) -> set[str]:
    """The public names that no page of a folder has; of a name in two packages one is enough."""
    have = documented(folder)
    bare = {name.rpartition(".")[2] for name in have if not name.startswith("tunstack.blocking")}
    return {
        name
        for name in public_names()
        if name not in have
        and (name.startswith("tunstack.blocking") or name.rpartition(".")[2] not in bare)
        and name not in ("tunstack.plot", "tunstack.behaviours")
    }


def test_every_public_name_is_on_a_page() -> None:
    assert missing_names(REFERENCE / "api") == set()


def test_a_name_without_a_page_is_found(tmp_path: Path) -> None:
    for each in (REFERENCE / "api").glob("*.md"):
        (tmp_path / each.name).write_text(each.read_text().replace("tunstack.Names\n", "-\n"))
    assert missing_names(tmp_path) == {"tunstack.Names"}


def test_the_types_of_fixtures_and_the_fixtures_are_on_the_page_of_the_plugin() -> None:
    from tunstack import pytest_plugin

    text = page("api/pytest-plugin") + (pytest_plugin.__doc__ or "")
    for name in pytest_plugin.__all__:
        if name.startswith("tunstack_") or name[0].isupper():
            assert re.search(rf"\b{name}\b", text), name


# Socket options


def options_of(kind: str) -> dict[int, set[int]]:
    """The numbers of the options that the page has of a kind of sockets, by level."""
    section = re.search(
        rf"^## {kind} sockets\n(.*?)(?=^## |\Z)", page("socket-options"), re.M | re.S
    )
    assert section is not None
    found: dict[int, set[int]] = {}
    for part in section[1].split("### At ")[1:]:
        level = getattr(socket, named(part)[0])
        names = [name for row in rows(part) for name in named(row[0])]
        found[level] = {NUMBERS.get(name) or getattr(socket, name) for name in names}
    return found


def accepted(sock: Any) -> dict[int, set[int]]:
    """The numbers of the options that a socket has, by level."""
    found: dict[int, set[int]] = {}
    levels = ("SOL_SOCKET", "IPPROTO_TCP", "IPPROTO_UDP", "IPPROTO_IP", "IPPROTO_IPV6")
    for level in (getattr(socket, name) for name in levels):
        for number in range(256):
            try:
                sock.getsockopt(level, number)
            except OSError:
                continue
            found.setdefault(level, set()).add(number)
    return found


@pytest.mark.parametrize(
    ("kind", "type_", "protocols"),
    [
        ("TCP", socket.SOCK_STREAM, (0, 0)),
        ("UDP", socket.SOCK_DGRAM, (0, 0)),
        ("Ping", socket.SOCK_DGRAM, (socket.IPPROTO_ICMP, socket.IPPROTO_ICMPV6)),
    ],
)
async def test_the_socket_options_are_those_of_the_sockets(
    kind: str, type_: int, protocols: tuple[int, int]
) -> None:
    link, _ = memory_pair()
    found: dict[int, set[int]] = {}
    async with Host(link, ADDRESSES) as host:
        for family, proto in zip((socket.AF_INET, socket.AF_INET6), protocols, strict=True):
            with host.socket(family, type_, proto) as sock:
                if type_ == socket.SOCK_DGRAM and proto == 0:  # IP_MTU is that to the peer.
                    peer = "198.51.100.1" if family == socket.AF_INET else "2001:db8::1"
                    await sock.connect((peer, 9))
                for level, numbers in accepted(sock).items():
                    found.setdefault(level, set()).update(numbers)
    assert options_of(kind) == found


@pytest.mark.parametrize(("kind", "module"), [("TCP", ""), ("UDP", ".datagram"), ("Ping", ".ping")])
def test_the_docstring_of_the_options_has_those_of_the_page(kind: str, module: str) -> None:
    _, _, section = page("socket-options").partition(f"\n## {kind} sockets\n")
    told = {name for row in rows(section.partition("\n## ")[0]) for name in named(row[0])}
    text = importlib.import_module(f"tunstack.socket.options{module}").__doc__ or ""
    assert {name for name in told if not re.search(rf"\b{name}\b", text)} == set()


# Statistics


async def test_every_counter_is_described_and_no_other() -> None:
    link, _ = memory_pair()
    async with Host(ImpairedLink(link), ADDRESSES) as host:
        counters = list(host.statistics())
    told = [name for row in rows(page("statistics")) for name in named(row[0])]
    assert sorted(told) == sorted(counters)
    assert all(len(row) >= 2 and row[1].strip() for row in rows(page("statistics")))


# The command line


def test_the_exit_statuses_are_those_of_the_commands() -> None:
    text = page("exit-statuses")
    of_all = {int(number) for number in re.findall(r"^\| (\d+) \|", text, re.M)}
    assert of_all == {0, status.USAGE, status.INTERRUPTED, status.OUTPUT_CLOSED}
    for number, word in (
        (status.REFUSED, "refused"),
        (status.RESET, "reset"),
        (status.TIMED_OUT, "timed out"),
        (status.UNREACHABLE, "unreachable"),
    ):
        assert f"{number} {word}" in text
    assert f"{status.BROKEN} when it\n  broke" in text
    assert f"{status.NO_REPLY} when none did" in text
    commands = re.findall(r"^`tunstack ([\w-]+)`", text, re.M)
    assert set(commands) <= summaries().keys()


def test_the_environment_variables_are_those_of_the_source() -> None:
    text = page("environment")
    told = set(re.findall(r"`(_?[A-Z][A-Z0-9_]+)`", text))
    files = [
        *(ROOT / "tunstack").rglob("*.py"),
        ROOT / "hatch_build.py",
        ROOT / "tests/conftest.py",
    ]
    files += (ROOT / "docs" / "_ext").glob("*.py")
    source = "".join(each.read_text() for each in files)
    ours = set(re.findall(r'["\'](_?TUNSTACK_[A-Z0-9_]+)["\']', source))
    assert ours <= told
    assert set(authority._VARIABLES) <= told
    assert all(name in source for name in told)
