"""The authority of a run: its files, its certificates, and what programs are told of them."""

from __future__ import annotations

import os
import pickle
import ssl
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tunstack import Authority, SetupError

if TYPE_CHECKING:
    from tunstack.deploy.authority import Fault


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> ssl.SSLObject:
    """Do a handshake in memory; returns the client's side."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = server.wrap_bio(to_server, to_client, server_side=True)
    theirs = client.wrap_bio(to_client, to_server, server_hostname=name)
    for _ in range(3):
        for side in (theirs, ours):
            with suppress(ssl.SSLWantReadError):
                side.do_handshake()
    return theirs


@pytest.mark.parametrize("name", ["peer.test", "a.peer.test", "198.51.100.2", "2001:db8::2"])
def test_what_is_certified_verifies(name: str) -> None:
    with Authority() as authority:
        server = authority.issue(["peer.test", "*.peer.test", "198.51.100.2", "2001:db8::2"])
        client = ssl.create_default_context(cafile=authority.bundle)
        assert handshake(server, client, name).version() == "TLSv1.3"
        with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
            handshake(server, client, "other.test")


def test_another_runs_authority_is_not_trusted() -> None:
    with Authority() as one, Authority() as other:
        client = ssl.create_default_context(cafile=other.bundle)
        with pytest.raises(ssl.SSLCertVerificationError, match="unable to get local issuer"):
            handshake(one.issue(["peer.test"]), client, "peer.test")


@pytest.mark.parametrize(
    ("fault", "says"),
    [("expired", "expired"), ("wrong-name", "mismatch"), ("self-signed", "self.signed")],
)
def test_a_certificate_has_the_fault_that_is_asked_for(fault: Fault, says: str) -> None:
    with Authority() as authority:
        server = authority.identity(["peer.test"], fault).context()
        client = ssl.create_default_context(cafile=authority.bundle)
        with pytest.raises(ssl.SSLCertVerificationError, match=says):
            handshake(server, client, "peer.test")


def test_an_identity_passes_to_another_process() -> None:
    with Authority() as authority:
        identity = pickle.loads(pickle.dumps(authority.identity(["peer.test"])))
        client = ssl.create_default_context(cafile=authority.certificate)
        handshake(identity.context(), client, "peer.test")


@pytest.mark.parametrize("names", [[], [""], ["not a name"]])
def test_names_that_are_none_are_refused(names: list[str]) -> None:
    with Authority() as authority, pytest.raises(ValueError, match=r"."):
        authority.issue(names)


def test_the_bundle_has_the_systems_authorities_and_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = tmp_path / "system.pem"
    system.write_bytes(b"the system's\n\n")
    monkeypatch.setenv("SSL_CERT_FILE", str(system))
    with Authority() as authority:
        own = authority.certificate.read_bytes()
        assert authority.bundle.read_bytes() == b"the system's\n" + own


def test_wget_keeps_its_own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".wgetrc").write_text("tries = 3")
    monkeypatch.delenv("WGETRC", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    with Authority() as authority:
        settings = Path(authority.environment()["WGETRC"]).read_text()
        assert settings == f"tries = 3\nca_certificate = {authority.bundle}\n"


@pytest.mark.parametrize("ending", [None, KeyboardInterrupt, ValueError])
def test_nothing_is_left_whatever_ends_it(ending: type[BaseException] | None) -> None:
    folder = Path()
    try:
        with Authority() as authority:
            folder = authority.bundle.parent
            assert folder.stat().st_mode & 0o777 == 0o700
            authority.issue(["peer.test"])
            if ending is not None:
                raise ending
    except (KeyboardInterrupt, ValueError):
        pass
    assert folder.name.startswith("tunstack-authority-")
    assert not folder.exists()


def test_the_private_key_is_in_no_file() -> None:
    with Authority() as authority:
        authority.issue(["peer.test"])
        for file in authority.bundle.parent.iterdir():
            assert b"PRIVATE KEY" not in file.read_bytes()


def test_the_secrets_of_tls_are_logged_where_the_user_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    with Authority() as authority:
        server = authority.issue(["peer.test"])
        monkeypatch.delenv("SSLKEYLOGFILE")
        client = ssl.create_default_context(cafile=authority.certificate)
        handshake(server, client, "peer.test")
    assert "CLIENT_TRAFFIC_SECRET_0" in (tmp_path / "keys").read_text()


def test_without_trustme_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trustme", None)
    with pytest.raises(SetupError, match=r"pip install 'tunstack\[tls\]'"):
        Authority()


def test_every_variable_names_a_file() -> None:
    with Authority() as authority:
        for value in authority.environment().values():
            assert os.path.isfile(value)
