"""The keys of TLS connections reach captures, so that Wireshark shows the plain text."""

from __future__ import annotations

import errno
import os
import ssl
import struct
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import trio

import tunstack
from tests.ladder.spoken import CLIENT, Talk, authority, new_contexts, tls_talk
from tunstack.cli import main
from tunstack.cli.output.keylog import KeyLog, key_log
from tunstack.cli.running.views import watching
from tunstack.cli.status import Failure
from tunstack.path.pcapng import PcapngWriter, insert_secrets, read_packets

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KEYS = b"CLIENT_RANDOM " + b"0a" * 32 + b" " + b"ff" * 48 + b"\n"
DECRYPTION_SECRETS = 10


def blocks_of(path: Path) -> list[tuple[int, bytes]]:
    """The type and body of every block."""
    data, at, blocks = path.read_bytes(), 0, []
    while at < len(data):
        kind, total = struct.unpack_from("<II", data, at)
        blocks.append((kind, data[at + 8 : at + total - 4]))
        assert data[at + total - 4 : at + total] == total.to_bytes(4, "little")
        at += total
    return blocks


def write_capture(path: Path, talk: Talk) -> None:
    with PcapngWriter(path) as writer:
        for seen in talk.observations:
            writer.write(seen.packet, seen.time, seen.comment, seen.direction == "out")


def test_a_secrets_block_is_as_the_draft_has_it(tmp_path: Path) -> None:
    path = tmp_path / "x.pcapng"
    with PcapngWriter(path) as writer:
        writer.write_secrets(KEYS)
    kind, body = blocks_of(path)[-1]
    assert kind == DECRYPTION_SECRETS
    assert struct.unpack_from("<II", body) == (0x544C534B, len(KEYS))
    assert body[8:].rstrip(b"\0") == KEYS


def test_keys_are_inserted_before_the_first_packet_and_the_rest_stays(tmp_path: Path) -> None:
    path = tmp_path / "x.pcapng"
    talk = Talk([(CLIENT, bytes(3_000_000))])  # More than is moved at once.
    write_capture(path, talk)
    before, packets = blocks_of(path), list(read_packets(path))
    insert_secrets(path, [KEYS, KEYS])
    after = blocks_of(path)
    assert [kind for kind, _ in after[2:4]] == [DECRYPTION_SECRETS] * 2
    assert after[:2] + after[4:] == before
    assert list(read_packets(path)) == packets


@pytest.mark.parametrize("content", [b"", b"abc", b"\x0a\x0d\x0d\x0a\xff\xff\xff\x7f", bytes(100)])
def test_no_keys_are_inserted_into_what_is_no_capture(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.pcapng"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="capture"):
        insert_secrets(path, [KEYS])
    assert path.read_bytes() == content


def test_a_disk_without_room_leaves_the_capture_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "x.pcapng"
    write_capture(path, Talk())
    content = path.read_bytes()
    monkeypatch.setattr(os, "posix_fallocate", full)
    log = KeyLog(str(tmp_path / "keys"))
    (tmp_path / "keys").write_bytes(KEYS)
    with pytest.raises(Failure, match=f"keys to {path}: No space left on device"):
        log.put_first(str(path))
    assert path.read_bytes() == content


def test_whole_lines_since_the_beginning_are_taken(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_bytes(KEYS)
    log = KeyLog(str(path))
    assert log.take() == b""
    with open(path, "ab") as file:
        file.write(KEYS + KEYS[:20])
        file.flush()
        assert log.take() == KEYS
        assert log.take() == b""
        file.write(KEYS[20:] + b"# a comment\nroot:x:0:0\n")
        file.flush()
        assert log.take() == KEYS
        assert log.take() == b""
    path.write_bytes(KEYS)
    assert log.take() == KEYS


def test_a_file_that_is_no_key_log_is_not_copied_into_captures(tmp_path: Path) -> None:
    path, capture = tmp_path / "keys", tmp_path / "x.pcapng"
    log = KeyLog(str(path))
    path.write_bytes(b"secret\n" * 300_000 + bytes(3 << 20) + b"\n" + KEYS)
    write_capture(capture, Talk())
    log.put_first(str(capture))
    (keys,) = (body for kind, body in blocks_of(capture) if kind == DECRYPTION_SECRETS)
    assert keys[8:].rstrip(b"\0") == KEYS


def test_a_log_that_cannot_be_written_is_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "none" / "keys"
    assert main(["run", "--keylog", str(path), "--pcap", os.devnull, "true"]) == 2
    expected = f"tunstack run: cannot write the TLS keys to {path}: No such file or directory\n"
    assert capfd.readouterr().err == expected
    assert main(["run", "--keylog", "-", "true"]) == 2
    assert "name a file for the keys" in capfd.readouterr().err


def test_no_variable_no_key_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSLKEYLOGFILE", raising=False)
    assert key_log() is None


def decrypted(tshark: str, path: Path, *fields: str) -> list[str]:
    """Fields of the HTTP that tshark shows of a capture, without further options."""
    command = [tshark, "-r", str(path), "-Y", "http", "-T", "fields"]
    for field in fields:
        command += ["-e", field]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2])
@pytest.mark.parametrize("side", [0, 1])
async def test_tshark_decrypts_a_capture_with_the_keys_of_either_side(
    side: int,
    newest: ssl.TLSVersion,
    tmp_path: Path,
    require_tool: Callable[[str], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path, keys = tmp_path / "x.pcapng", tmp_path / "keys"
    keys.write_bytes(KEYS)
    monkeypatch.setenv("SSLKEYLOGFILE", str(keys))
    said = tls_talk(
        newest=newest,
        question=b"GET / HTTP/1.1\r\nHost: peer.test\r\n\r\n",
        answer=b"HTTP/1.1 204 No Content\r\n\r\n",
        protocols=("http/1.1",),
        keylog=(side, str(keys)),
    )
    talk = Talk(said, our_port=443)
    new = keys.read_bytes()[len(KEYS) :]
    keys.write_bytes(KEYS)
    async with watching(pcap=path, trace=False) as tap:
        assert tap is not None
        for seen in talk.observations:
            # Its keys are logged after the server's answer came, as a client logs them.
            if seen is talk.observations[5]:
                keys.write_bytes(KEYS + new)
            tap(seen)
    kinds = [kind for kind, _ in blocks_of(path)]
    assert kinds.count(DECRYPTION_SECRETS) == 2
    assert kinds[2] == DECRYPTION_SECRETS
    assert KEYS.strip() not in path.read_bytes()
    found = decrypted(require_tool("tshark"), path, "http.host", "http.response.code")
    assert found == ["peer.test", "204"]


@pytest.mark.kernel
async def test_curl_logs_its_keys_and_the_capture_has_them(
    tmp_path: Path, require_tool: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, keys, bundle = tmp_path / "x.pcapng", tmp_path / "keys", tmp_path / "ca.pem"
    authority().cert_pem.write_to_path(bundle)
    context = new_contexts()[1]
    monkeypatch.setenv("SSLKEYLOGFILE", str(keys))

    async def answer(stream: trio.SocketStream) -> None:
        tls = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
        await tls.receive_some()
        await tls.send_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        await tls.aclose()

    url = "https://peer.test/found"
    command = [require_tool("curl"), "-sS", "--http1.1", "--cacert", str(bundle)]
    command += ["--resolve", "peer.test:443:198.51.100.2", url]
    async with (
        watching(pcap=path, trace=False) as tap,
        tunstack.open_namespace() as namespace,
        namespace.open_host("198.51.100.2/24", tap=tap) as host,
        trio.open_nursery() as nursery,
    ):
        await nursery.start(host.serve_tcp, answer, 443)
        await namespace.run_process(command)
        nursery.cancel_scope.cancel()
    assert "CLIENT_HANDSHAKE_TRAFFIC_SECRET" in keys.read_text()
    found = decrypted(require_tool("tshark"), path, "http.request.full_uri", "http.response.code")
    assert found[:2] == [url, "204"]


@pytest.mark.kernel
@pytest.mark.parametrize("to", ["file", "pipe"])
def test_tshark_shows_the_request_of_a_run_without_further_options(
    to: str, tmp_path: Path, require_tool: Callable[[str], str]
) -> None:
    """Of a pipe as well, where keys cannot be put before what was read."""
    url, path = "https://peer.test/bytes/7", tmp_path / "x.pcapng"
    output = str(path) if to == "file" else "-"
    command = [sys.executable, "-m", "tunstack", "run", "--keylog", str(tmp_path / "keys")]
    command += ["--pcap", output, "--", require_tool("curl"), "-sS", "--http1.1", url]
    done = subprocess.run(command, check=True, capture_output=True, timeout=60)
    if to == "pipe":
        path.write_bytes(done.stdout)
    found = decrypted(require_tool("tshark"), path, "http.request.full_uri", "http.response.code")
    assert found[:2] == [url, "200"]


@pytest.mark.kernel
def test_the_option_reaches_the_command_and_ends_with_it(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSLKEYLOGFILE", raising=False)
    path = tmp_path / "keys"
    assert main(["run", "--keylog", str(path), "sh", "-c", "echo $SSLKEYLOGFILE"]) == 0
    assert capfd.readouterr().out == f"{path}\n"
    assert "SSLKEYLOGFILE" not in os.environ


@pytest.mark.kernel
def test_keys_reach_the_capture_of_a_bridge_and_of_a_pipe(tmp_path: Path) -> None:
    """Of a pipe as they appear, as nothing can be put before what was read."""
    keys, path = tmp_path / "keys", tmp_path / "x.pcapng"
    say = f"printf '%s' '{KEYS.decode()}' >>$SSLKEYLOGFILE; ping -c 1 $TUNSTACK_HOST"
    program = [sys.executable, "-m", "tunstack"]
    for command in ("run", "bridge"):
        options = ["--keylog", str(keys), "--pcap", str(path), "--", "sh", "-c", say]
        subprocess.run([*program, command, *options], check=True, capture_output=True)
        assert [kind for kind, _ in blocks_of(path)][2] == DECRYPTION_SECRETS
    options = ["--keylog", str(keys), "--pcap", "-", "--", "sh", "-c", say]
    done = subprocess.run([*program, "run", *options], check=True, capture_output=True)
    path.write_bytes(done.stdout)
    kinds = [kind for kind, _ in blocks_of(path)]
    assert kinds.count(DECRYPTION_SECRETS) == 1
