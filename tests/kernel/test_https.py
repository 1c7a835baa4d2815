"""Plain programs of the kernel's side fetch over TLS, and verify what they are shown."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

from tunstack import Authority
from tunstack.apps.https import make_handler
from tunstack.apps.pages import pattern
from tunstack.cli import main

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tunstack import Namespace

    RequireTool = Callable[[str], str]

pytestmark = pytest.mark.kernel

ADDRESSES = {"IPv4": "198.51.100.2", "IPv6": "[2001:db8::2]"}
SIZE = 64 << 20


def run(*command: str) -> int:
    return main(["run", "--", *command])


@pytest.mark.parametrize("version", ["1.1", "2"])
@pytest.mark.parametrize("family", ADDRESSES)
def test_curl_verifies(
    family: str, version: str, require_tool: RequireTool, capfd: pytest.CaptureFixture[str]
) -> None:
    options = ["-sS", "-w", "%{http_version} %{ssl_verify_result}", f"--http{version}"]
    url = f"https://{ADDRESSES[family]}/"
    assert run(require_tool("curl"), *options, f"-{family[-1]}", url) == 0
    shown, error = capfd.readouterr()
    assert error == ""
    assert shown.startswith("<!doctype html>\n")
    assert shown.endswith(f"{version} 0")


def test_curl_verifies_the_name(
    require_tool: RequireTool, capfd: pytest.CaptureFixture[str]
) -> None:
    curl = [require_tool("curl"), "-sS", "-o", "/dev/null"]
    known = ["--resolve", "peer.test:443:198.51.100.2", "https://peer.test/"]
    assert run(*curl, *known) == 0
    other = ["--resolve", "other.test:443:198.51.100.2", "https://other.test/"]
    assert run(*curl, *other) == 60
    assert "no alternative certificate subject name matches" in capfd.readouterr().err


def test_curl_verifies_every_name_that_is_given(
    require_tool: RequireTool, capfd: pytest.CaptureFixture[str]
) -> None:
    """A name that no host may have is in no certificate, and stands in nobody's way."""
    names = ["--name", "www.test=198.51.100.2", "--name", "_a._tcp.www.test=198.51.100.2"]
    curl = f"{require_tool('curl')} -sS -o /dev/null -w '%{{ssl_verify_result}} '"
    script = f"{curl} https://www.test/; {curl} https://peer.test/; {curl} https://a.peer.test/"
    assert main(["run", *names, "--", "sh", "-c", script]) == 0
    assert capfd.readouterr() == ("0 0 0 ", "")


def test_without_the_environment_curl_does_not_trust_us(
    require_tool: RequireTool, capfd: pytest.CaptureFixture[str]
) -> None:
    unset = ["env", "-u", "CURL_CA_BUNDLE", "-u", "SSL_CERT_FILE"]
    assert run(*unset, require_tool("curl"), "-sS", "https://198.51.100.2/") == 60
    assert "unable to get local issuer certificate" in capfd.readouterr().err


@pytest.mark.parametrize("host", ADDRESSES.values())
def test_wget_verifies(
    host: str, require_tool: RequireTool, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(require_tool("wget"), "-q", "-O", "-", f"https://{host}/bytes/100000") == 0
    assert "unable" not in capfd.readouterr().err


@pytest.mark.parametrize("host", ADDRESSES.values())
def test_openssl_verifies(
    host: str, require_tool: RequireTool, capfd: pytest.CaptureFixture[str]
) -> None:
    script = f"echo | {require_tool('openssl')} s_client -verify_return_error -connect {host}:443"
    assert run("sh", "-c", f"{script} -alpn h2,http/1.1 2>/dev/null") == 0
    shown = capfd.readouterr().out
    assert "Verify return code: 0 (ok)" in shown
    assert "ALPN protocol: h2" in shown


@pytest.mark.parametrize("host", ADDRESSES.values())
def test_pythons_urllib_verifies(host: str, capfd: pytest.CaptureFixture[str]) -> None:
    code = (
        "from urllib.request import build_opener, ProxyHandler as P;"
        f"print(len(build_opener(P({{}})).open('https://{host}/bytes/100000').read()))"
    )
    assert run(sys.executable, "-c", code) == 0
    assert capfd.readouterr() == ("100000\n", "")


@pytest.mark.parametrize("host", ADDRESSES.values())
def test_requests_verifies(host: str, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("requests")
    code = (
        "import requests; s = requests.Session(); s.proxies = {'no_proxy': '*'};"
        f"print(len(s.get('https://{host}/bytes/100000').content))"
    )
    assert run(sys.executable, "-c", code) == 0
    assert capfd.readouterr() == ("100000\n", "")


@pytest.mark.parametrize("host", ADDRESSES.values())
def test_node_verifies(
    host: str, require_tool: RequireTool, capfd: pytest.CaptureFixture[str]
) -> None:
    code = (
        f"require('https').get('https://{host}/', answer => {{"
        "console.log(answer.statusCode, answer.socket.authorized); answer.resume() })"
    )
    assert run(require_tool("node"), "-e", code) == 0
    assert capfd.readouterr() == ("200 true\n", "")


@asynccontextmanager
async def serving(ns: Namespace) -> AsyncIterator[dict[str, str]]:
    """Serve https on a host of both families; the block gets the environment for clients."""
    with Authority() as authority:
        context = authority.issue(["198.51.100.2", "2001:db8::2"])
        async with ns.open_host() as host, trio.open_nursery() as nursery:
            await nursery.start(host.serve_tcp, make_handler(context), 443)
            yield {**os.environ, **authority.environment()}
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("version", ["1.1", "2"])
@pytest.mark.parametrize("family", ADDRESSES)
async def test_64_mib_arrive_each_way_as_they_were_sent(
    family: str,
    version: str,
    ns: Namespace,
    require_tool: RequireTool,
    tmp_path: Path,
) -> None:
    file = tmp_path / "f"
    curl = [require_tool("curl"), "-sS", f"--http{version}"]
    url = f"https://{ADDRESSES[family]}"
    async with serving(ns) as environment:
        await ns.run_process([*curl, "-o", str(file), f"{url}/bytes/{SIZE}"], env=environment)
        expected = hashlib.sha256()
        for piece in pattern(SIZE):
            expected.update(piece)
        with file.open("rb") as received:
            assert hashlib.file_digest(received, "sha256").digest() == expected.digest()
        sent = [*curl, "-T", str(file), f"{url}/sha256"]
        result = await ns.run_process(sent, capture_stdout=True, env=environment)
    assert result.stdout.decode().strip() == expected.hexdigest()


@pytest.mark.parametrize("host_name", ADDRESSES.values())
async def test_many_requests_on_many_connections_all_succeed(
    host_name: str, ns: Namespace, require_tool: RequireTool
) -> None:
    load = ["-n", "1000", "-c", "50", "-m", "20", f"https://{host_name}/"]
    async with serving(ns) as environment:
        result = await ns.run_process(
            [require_tool("h2load"), *load], capture_stdout=True, env=environment
        )
    shown = result.stdout.decode()
    assert "1000 succeeded, 0 failed, 0 errored, 0 timeout" in shown
    assert "status codes: 1000 2xx" in shown


FAULTS = {
    "https-expired": (60, "certificate has expired"),
    "https-wrong-name": (60, "no alternative certificate subject name matches"),
    "https-self-signed": (60, "self.signed certificate"),
    "https-damaged": (56, "bad record mac"),
    "https-stalled": (28, "timed out"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_curl_says_what_is_wrong(
    name: str, require_tool: RequireTool, capfd: pytest.CaptureFixture[str]
) -> None:
    status, says = FAULTS[name]
    url = "https://198.51.100.2/"
    command = ["run", "--serve", f"{name}:443", "--", require_tool("curl"), "-sS", "-m", "1", url]
    assert main(command) == status
    assert re.search(says, capfd.readouterr().err)


def test_wget_sees_that_close_notify_is_missing(
    require_tool: RequireTool, capfd: pytest.CaptureFixture[str]
) -> None:
    url = "https://198.51.100.2/"
    command = ["--tries=1", "-O", "/dev/null", url]
    main(["run", "--serve", "https-unclosed:443", "--", require_tool("wget"), *command])
    assert "non-properly terminated" in capfd.readouterr().err


APPLICATION = """
async def application(scope, receive, send):
    assert scope["type"] == "http"
    if scope["path"] == "/raises":
        raise ValueError("as it should")
    said = f"{scope['scheme']} {scope['http_version']} {scope['client'][0]}".encode()
    headers = [(b"content-length", b"%d" % len(said))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": said})

async def handler(stream):
    await stream.send_all(b"for " + stream.socket.getpeername()[0].encode())
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module in the current directory."""
    name = f"served_{os.getpid()}_{time.monotonic_ns()}"
    (tmp_path / f"{name}.py").write_text(APPLICATION)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    return name


@pytest.mark.parametrize("workers", [[], ["--workers", "2"]], ids=["here", "in workers"])
def test_an_asgi_application_is_served_on_both_ports(
    workers: list[str], module: str, require_tool: RequireTool, capfd: pytest.CaptureFixture[str]
) -> None:
    curl = f"{require_tool('curl')} -sS -w '\\n'"
    script = f"{curl} http://198.51.100.2/; {curl} https://198.51.100.2/"
    options = ["--serve", f"asgi={module}:application", *workers]
    assert main(["run", *options, "--", "sh", "-c", script]) == 0
    assert capfd.readouterr() == ("http 1.1 198.51.100.1\nhttps 2 198.51.100.1\n", "")


def test_an_asgi_application_that_raises_is_reported_and_goes_on(
    module: str,
    require_tool: RequireTool,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    curl = f"{require_tool('curl')} -sS -o /dev/null -w '%{{http_code}} ' http://198.51.100.2"
    script = f"{curl}:8080/raises; {curl}:8080/"
    options = ["--serve", f"asgi={module}:application:8080"]
    assert main(["run", *options, "--", "sh", "-c", script]) == 0
    assert capfd.readouterr().out == "500 200 "
    assert "ValueError: as it should" in caplog.text


def test_a_handler_of_ones_own_is_served(
    module: str, require_tool: RequireTool, capfd: pytest.CaptureFixture[str]
) -> None:
    command = [require_tool("socat"), "-", "TCP:198.51.100.2:7000"]
    assert main(["run", "--serve", f"{module}:handler:7000", "--", *command]) == 0
    assert capfd.readouterr() == ("for 198.51.100.1", "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_authority_is_deleted_whatever_ends_the_run(number: int, tmp_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    script = "echo $SSL_CERT_FILE; exec sleep 60"
    with subprocess.Popen(
        [sys.executable, "-m", "tunstack", "run", "--", "sh", "-c", script],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        assert process.stdout is not None
        bundle = Path(process.stdout.readline().strip())
        assert bundle.is_relative_to(tmp_path)
        assert bundle.is_file()
        process.send_signal(number)
    assert process.returncode == 128 + number
    assert list(tmp_path.iterdir()) == []


def test_the_variables_that_programs_read_name_one_bundle(
    capfd: pytest.CaptureFixture[str],
) -> None:
    code = "import json, os; print(json.dumps(dict(os.environ)))"
    assert run(sys.executable, "-c", code) == 0
    found = json.loads(capfd.readouterr().out)
    names = ["CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"]
    assert len({found[name] for name in names}) == 1
