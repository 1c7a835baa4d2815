"""``--name``, ``--zone``, ``--name-fault``, ``--no-dns``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from tunstack.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

kernel = pytest.mark.kernel

ZONE = """\
$ORIGIN example.org.
$TTL 300
@ SOA ns hostmaster 1 3600 600 86400 30
@ NS ns
ns A 203.0.113.1
www A 203.0.113.2
"""


def found(capfd: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    """The addresses that a command in ``tunstack run`` prints."""
    assert main(["run", *arguments]) == 0
    return [line.split()[0] for line in capfd.readouterr().out.splitlines() if "STREAM" in line]


@kernel
@pytest.mark.parametrize("workers", [[], ["--workers", "2"]])
def test_peer_test_is_tunstack(workers: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    addresses = found(capfd, *workers, "getent", "ahosts", "a.peer.test")
    assert sorted(addresses) == ["198.51.100.2", "2001:db8::2"]


@kernel
def test_without_ipv6_peer_test_has_no_ipv6_address(capfd: pytest.CaptureFixture[str]) -> None:
    assert found(capfd, "--no-ipv6", "getent", "ahosts", "peer.test") == ["198.51.100.2"]


@kernel
def test_names_have_the_addresses_that_they_are_given(capfd: pytest.CaptureFixture[str]) -> None:
    names = [
        f"--name={each}" for each in ("a.test=198.51.100.7,198.51.100.8", "a.test=2001:db8::7")
    ]
    expected = ["198.51.100.7", "198.51.100.8", "2001:db8::7"]
    assert sorted(found(capfd, *names, "getent", "ahosts", "a.test")) == expected


@kernel
def test_a_name_without_an_address_is_tunstack(capfd: pytest.CaptureFixture[str]) -> None:
    found_addresses = found(
        capfd, "--name=www.example.net", "getent", "ahostsv4", "www.example.net"
    )
    assert found_addresses == ["198.51.100.2"]


@kernel
def test_a_zone_is_read(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "zone").write_text(ZONE)
    zone = f"--zone={tmp_path / 'zone'}"
    assert found(capfd, zone, "getent", "ahosts", "www.example.org") == ["203.0.113.2"]


@kernel
def test_a_fault_is_done(
    require_tool: Callable[[str], str], capfd: pytest.CaptureFixture[str]
) -> None:
    dig = require_tool("dig")
    assert main(["run", "--name-fault=*.peer.test=servfail", dig, "a.peer.test"]) == 0
    assert "status: SERVFAIL" in capfd.readouterr().out


@kernel
def test_a_command_with_no_dns_has_the_machines_resolv_conf(
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert main(["run", "--no-dns", "cat", "/etc/resolv.conf"]) == 0
    with open("/etc/resolv.conf", encoding="utf-8") as file:
        assert capfd.readouterr().out == file.read()


@kernel
def test_dns_may_be_served_beside_on_another_port(
    require_tool: Callable[[str], str], capfd: pytest.CaptureFixture[str]
) -> None:
    command = [require_tool("dig"), "-p", "5353", "@198.51.100.2", "+short", "peer.test"]
    assert main(["run", "--serve=dns:5353", "--serve=dns", *command]) == 0
    assert capfd.readouterr().out == "198.51.100.2\n"


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("--name=a.test=zz", "a.test=zz: give an address, or a record as 'MX 10 mail.test'"),
        ("--name=a..test=198.51.100.2", "'a..test' is no name"),
        ("--name==198.51.100.2", "'' is no name"),
        ("--name-fault=a.test", "'a.test': write it as NAME=FAULT"),
        ("--name-fault=a.test=slow", "'slow' is no fault"),
        ("--name-fault=a.test=delay:x", "give seconds from 0 to 3600"),
        ("--zone=/nowhere/zone", "cannot read /nowhere/zone: No such file or directory"),
        ("--zone=/", "cannot read /: Is a directory"),
        ("--zone=/dev/null", "/dev/null: of which zone is it?"),
        ("--serve=echo:53", "port 53 is the DNS server's: write --no-dns"),
    ],
)
def test_what_is_malformed_is_said_in_one_line(
    option: str, says: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", option, "true"]) == 2
    error = capfd.readouterr().err
    assert says in error
    assert error.count("\n") == 1


def test_names_that_nobody_serves_are_refused(capfd: pytest.CaptureFixture[str]) -> None:
    arguments = ["serve", "echo", "--address=198.51.100.2/24", "--name=a.test"]
    assert main(arguments) == 2
    assert "--name, --zone and --name-fault are for the app dns" in capfd.readouterr().err


@kernel
def test_serve_serves_names(
    require_tool: Callable[[str], str], capfd: pytest.CaptureFixture[str]
) -> None:
    """In the namespace of a `run`, on a device of its own."""
    serve = f"{sys.executable} -m tunstack serve dns --address 203.0.113.2/24"
    dig = f"{require_tool('dig')} @203.0.113.2 +short +tries=1 +time=1"
    script = (
        f"{serve} --name www.test=203.0.113.9 >&2 & for n in $(seq 60); do"
        f" {dig} www.test | grep ^203 && break; sleep 0.5; done; {dig} peer.test; kill $!; wait"
    )
    assert main(["run", "sh", "-c", script]) == 0
    assert capfd.readouterr().out.splitlines() == ["203.0.113.9", "203.0.113.2"]
