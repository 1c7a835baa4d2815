"""A certificate authority for one run, and certificates that programs verify against it.

::

    with tunstack.Authority() as authority:
        context = authority.issue(["peer.test", "198.51.100.2", "2001:db8::2"])
        tls = trio.SSLStream(stream, context, server_side=True)
        await ns.run_process(["curl", "https://198.51.100.2/"],
                             env={**os.environ, **authority.environment()})

The authority's certificate stands in a bundle behind the system's own authorities, so that a
program that is pointed at it verifies the rest of the world as before. The bundle lies in a folder
of its own, mode 0700, which is deleted when the block ends. The private key of the authority is
never written to a file.

Which variable a program reads was tried with curl 7.88, wget 1.21 (GnuTLS), OpenSSL 3.0, Python
3.11, requests 2.34, httpx 0.28 and Node 20.
"""

from __future__ import annotations

import os
import ssl
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, final

from tunstack.link.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from types import ModuleType, TracebackType

Fault: TypeAlias = Literal["", "expired", "wrong-name", "self-signed"]
"""What is wrong with a certificate; the empty text for nothing."""

ALPN: Final = ("h2", "http/1.1")
"""The application protocols that a server's context offers, best first (RFC 7301)."""

_ORGANIZATION: Final = "tunstack"
_WRONG_NAME: Final = "wrong-name.invalid"
_EXPIRED_FROM: Final = datetime(2000, 1, 1, tzinfo=UTC)
_EXPIRED_AT: Final = datetime(2001, 1, 1, tzinfo=UTC)

_SYSTEM_BUNDLES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Arch, Gentoo, Alpine
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/ssl/cert.pem",  # BSDs
)

_VARIABLES: Final = (
    "SSL_CERT_FILE",  # OpenSSL and what uses its defaults: Python's ssl, Ruby, Go, httpx
    "CURL_CA_BUNDLE",  # curl
    "REQUESTS_CA_BUNDLE",  # Python's requests
    "NODE_EXTRA_CA_CERTS",  # Node, beside its own authorities
    "GIT_SSL_CAINFO",
    "PIP_CERT",
    "CARGO_HTTP_CAINFO",
    "AWS_CA_BUNDLE",
    "DENO_CERT",
    "NIX_SSL_CERT_FILE",
)


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate chain and its private key, as PEM: what a server shows. It can be pickled.

    Attributes:
        pem: The key, then the certificate, then those between it and the authority's.
    """

    pem: bytes

    def context(self, alpn: Sequence[str] = ALPN) -> ssl.SSLContext:
        """Create a server's context: TLS 1.2 and 1.3, and the application protocols `alpn`.

        Sessions are not resumed in TLS 1.3.

        With the variable SSLKEYLOGFILE the secrets are appended to that file, as those of
        `ssl.create_default_context` are.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_alpn_protocols(list(alpn))
        # trio holds tickets back until something is sent; an alert without them is not readable.
        context.num_tickets = 0
        if keylog := os.environ.get("SSLKEYLOGFILE"):
            context.keylog_filename = keylog
        # OpenSSL's function for it takes a file only.
        with tempfile.NamedTemporaryFile(prefix="tunstack-", suffix=".pem") as file:
            file.write(self.pem)
            file.flush()
            context.load_cert_chain(file.name)
        return context


@final
class Authority:
    """A certificate authority of one run; a context manager.

    Attributes:
        certificate: A file with the authority's certificate alone (PEM).
        bundle: A file with the system's authorities and this one (PEM).

    Raises:
        SetupError: trustme is not installed.
    """

    def __init__(self) -> None:
        self._trustme = _import_trustme()
        self._ca = self._trustme.CA(organization_name=_ORGANIZATION)
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self.certificate: Path
        self.bundle: Path

    def __enter__(self) -> Authority:
        """Create the files."""
        self._folder = tempfile.TemporaryDirectory(prefix="tunstack-authority-")
        try:
            folder = Path(self._folder.name)
            own = self._ca.cert_pem.bytes()
            self.certificate = folder / "authority.pem"
            self.certificate.write_bytes(own)
            self.bundle = folder / "bundle.pem"
            self.bundle.write_bytes(_system_bundle(os.environ) + own)
            self._wgetrc = folder / "wgetrc"
            self._wgetrc.write_bytes(_wgetrc(os.environ, self.bundle))
        except BaseException:
            self._folder.cleanup()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Delete the files."""
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def issue(self, names: Iterable[str], *, alpn: Sequence[str] = ALPN) -> ssl.SSLContext:
        """Issue a certificate for host names and addresses; returns a server's context with it.

        Args:
            names: The subject alternative names: host names, ``*.peer.test``, IP addresses.
            alpn: The application protocols, best first.

        Raises:
            ValueError: there are no names, or one is invalid.
        """
        return self.identity(names).context(alpn)

    def identity(self, names: Iterable[str], fault: Fault = "") -> Identity:
        """Issue a certificate for host names and addresses, with a fault if one is named.

        Args:
            names: As of :meth:`issue`.
            fault: ``"expired"``: in 2001; ``"wrong-name"``: for another name; ``"self-signed"``: by
                a key that nobody knows.
        """
        issuer = self._ca
        if fault == "self-signed":
            issuer = self._trustme.CA(organization_name=_ORGANIZATION)
            return Identity(issuer.private_key_pem.bytes() + issuer.cert_pem.bytes())
        leaf = issuer.issue_cert(
            *([_WRONG_NAME] if fault == "wrong-name" else names),
            organization_name=_ORGANIZATION,
            not_before=_EXPIRED_FROM if fault == "expired" else None,
            not_after=_EXPIRED_AT if fault == "expired" else None,
        )
        chain = [leaf.private_key_pem, *leaf.cert_chain_pems]
        return Identity(b"".join(blob.bytes() for blob in chain))

    def environment(self) -> dict[str, str]:
        """The variables by which programs find the bundle.

        wget reads none, but a file that the variable WGETRC names: here one with the user's own
        settings and the bundle.
        """
        return {**dict.fromkeys(_VARIABLES, str(self.bundle)), "WGETRC": str(self._wgetrc)}


def _import_trustme() -> ModuleType:
    try:
        import trustme
    except ModuleNotFoundError as missing:
        raise SetupError("TLS needs trustme: pip install 'tunstack[tls]'") from missing
    return trustme


def _system_bundle(environment: Mapping[str, str]) -> bytes:
    """The authorities that programs trust already; empty if the system has none."""
    paths = ssl.get_default_verify_paths()
    for path in (environment.get("SSL_CERT_FILE"), paths.cafile, *_SYSTEM_BUNDLES):
        with suppress(OSError):
            if path and (text := Path(path).read_bytes()):
                return text.rstrip() + b"\n"
    return b""


def _wgetrc(environment: Mapping[str, str], bundle: Path) -> bytes:
    """The user's own settings of wget, and the bundle."""
    own = environment.get("WGETRC") or Path(environment.get("HOME", "/"), ".wgetrc")
    text = b""
    with suppress(OSError):
        text = Path(own).read_bytes().rstrip() + b"\n"
    return text + b"ca_certificate = " + os.fsencode(bundle) + b"\n"
