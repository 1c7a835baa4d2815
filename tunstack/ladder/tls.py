"""Read TLS records for the ladder (RFC 8446 section 5, RFC 5246 section 6), with dpkt.

dpkt parses the hellos and certificates, and names the alerts and the cipher suites before TLS 1.3.
What is encrypted is named, with its length. In TLS 1.3 the certificate and the rest of the
handshake are encrypted, in records that look like application data: those of the server before the
client's first one, and that one.
"""

from __future__ import annotations

from typing import Any, Final

from dpkt import ssl
from dpkt.ssl_ciphersuites import BY_CODE

from tunstack.ladder.message import Message, shorten

_CHANGE_CIPHER_SPEC: Final = 20
_ALERT: Final = 21
_HANDSHAKE: Final = 22
_APPLICATION_DATA: Final = 23
_TYPES: Final = frozenset(range(20, 25))

_CLIENT_HELLO: Final = 1
_SERVER_HELLO: Final = 2
_CERTIFICATE: Final = 11
_HANDSHAKES: Final = {
    0: "HelloRequest",
    1: "ClientHello",
    2: "ServerHello",
    4: "NewSessionTicket",
    11: "Certificate",
    12: "ServerKeyExchange",
    13: "CertificateRequest",
    14: "ServerHelloDone",
    15: "CertificateVerify",
    16: "ClientKeyExchange",
    20: "Finished",
    22: "CertificateStatus",
}

_SERVER_NAME: Final = 0
_ALPN: Final = 16
_SUPPORTED_VERSIONS: Final = 43

_VERSIONS: Final = {
    0x0300: "SSL 3.0",
    0x0301: "TLS 1.0",
    0x0302: "TLS 1.1",
    0x0303: "TLS 1.2",
    0x0304: "TLS 1.3",
}
_NEW: Final = "TLS 1.3"
_SUITES: Final = {
    0x1301: "TLS_AES_128_GCM_SHA256",
    0x1302: "TLS_AES_256_GCM_SHA384",
    0x1303: "TLS_CHACHA20_POLY1305_SHA256",
    0x1304: "TLS_AES_128_CCM_SHA256",
    0x1305: "TLS_AES_128_CCM_8_SHA256",
}
_ALERTS: Final = {
    109: "missing_extension",
    116: "certificate_required",
    120: "no_application_protocol",
}
"""Those that dpkt does not name."""
_RETRY: Final = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
"""The random of a HelloRetryRequest (RFC 8446 section 4.1.3)."""

_HEADER: Final = 5
_MOST_RECORD: Final = (1 << 14) + 2048
_MOST_MESSAGE: Final = 1 << 14
"""Octets of a handshake message that are kept, and read; of longer ones the length is told."""
_ALERT_RECORD: Final = 19
"""Octets of an encrypted alert in TLS 1.3, with a tag of 16."""
_MOST_NAMES: Final = 3
_SUBJECT_ALTERNATIVE_NAME: Final = bytes.fromhex("0603551d11")
_DNS_NAME: Final = 0x82


class TlsConnection:
    """What both directions of a connection know of it.

    Attributes:
        version: As the ServerHello selects it; empty before.
        finished: Whether the client has sent its first encrypted record.
    """

    def __init__(self) -> None:
        self.version = ""
        self.finished = False


class TlsStream:
    """The records of one direction.

    Args:
        connection: Shared with the other direction.
    """

    def __init__(self, connection: TlsConnection) -> None:
        self._connection = connection
        self._data = b""
        self._skip = 0
        self._handshake = b""
        self._skip_handshake = 0
        self._encrypted = False
        self._is_client = False

    @staticmethod
    def may_begin(data: bytes) -> bool | None:
        """Whether octets look like the begin of a record; None if there are too few to tell."""
        if len(data) < _HEADER + 1:
            return None if not data or data[0] in _TYPES else False
        right = data[0] in _TYPES and data[1] == 3 and data[2] <= 4
        length = int.from_bytes(data[3:5], "big")
        if not right or not 0 < length <= _MOST_RECORD:
            return False
        return data[0] != _HANDSHAKE or data[5] in _HANDSHAKES

    def feed(self, piece: bytes | int) -> list[Message] | None:
        """Add octets in order, or the number of some that are missing.

        Returns:
            The messages that are complete; None if the stream cannot be read any more.
        """
        if isinstance(piece, int):
            if piece > self._skip:
                return None
            self._skip -= piece
            return []
        messages: list[Message] = []
        data, at = self._data + piece, 0
        while True:
            skipped = min(self._skip, len(data) - at)
            self._skip -= skipped
            at += skipped
            if len(data) < at + _HEADER:
                break
            kind, length = data[at], int.from_bytes(data[at + 3 : at + 5], "big")
            if kind not in _TYPES or data[at + 1] != 3 or length > _MOST_RECORD:
                return None if not messages else _merged(messages)
            if self._is_opaque(kind):
                messages.append(self._opaque(kind, length))
                self._skip = length
                at += _HEADER
                continue
            end = at + _HEADER + length
            if len(data) < end:
                break
            messages += self._record(kind, data[at + _HEADER : end])
            at = end
        self._data = data[at:]
        return _merged(messages)

    def _is_opaque(self, kind: int) -> bool:
        """Whether a record's contents cannot be read."""
        if kind == _CHANGE_CIPHER_SPEC:
            return False
        return kind not in (_ALERT, _HANDSHAKE) or self._encrypted

    def _opaque(self, kind: int, length: int) -> Message:
        connection = self._connection
        if kind == _HANDSHAKE:
            return _encrypted("Finished", "handshake", length)
        if kind == _ALERT:
            return Message("alert", ("TLS alert", "encrypted"), size=length)
        if kind != _APPLICATION_DATA:
            return _encrypted(f"record of type {kind}", "data", length)
        if self._is_client and not connection.version:
            return _encrypted("early data", "data", length)
        if connection.version == _NEW and not connection.finished:
            connection.finished = self._is_client
            return _encrypted("handshake", "handshake", length)
        if connection.version == _NEW and length == _ALERT_RECORD:
            title = "TLS application data", "encrypted"
            return Message("alert", title, ("as long as an alert",), size=length)
        return Message("data", ("TLS application data", "encrypted"), plain=True, size=length)

    def _record(self, kind: int, body: bytes) -> list[Message]:
        if kind == _CHANGE_CIPHER_SPEC:
            # In TLS 1.3 it means nothing, and may come before the ServerHello.
            self._encrypted = self._connection.version not in ("", _NEW)
            return [Message("ChangeCipherSpec", ("TLS ChangeCipherSpec",))]
        if kind == _ALERT:
            return [_alert(body)]
        return self._handshakes(body)

    def _handshakes(self, body: bytes) -> list[Message]:
        """The messages in a record, which may begin in one before and end in a later one."""
        messages: list[Message] = []
        skipped = min(self._skip_handshake, len(body))
        self._skip_handshake -= skipped
        data, at = self._handshake + body[skipped:], 0
        while len(data) >= at + 4:
            kind, length = data[at], int.from_bytes(data[at + 1 : at + 4], "big")
            end = at + 4 + length
            if length > _MOST_MESSAGE:
                messages.append(_named(kind, f"{length} bytes"))
                self._skip_handshake = max(0, end - len(data))
            elif len(data) < end:
                break
            else:
                messages.append(self._handshake_message(kind, data[at + 4 : end]))
            at = end
        self._handshake = data[at:]
        return messages

    def _handshake_message(self, kind: int, body: bytes) -> Message:
        try:
            if kind == _CLIENT_HELLO:
                self._is_client = True
                return _client_hello(body)
            if kind == _SERVER_HELLO:
                message = _server_hello(body)
                self._connection.version = message.version
                return message
            if kind == _CERTIFICATE:
                return _certificate(body)
        except Exception:  # dpkt lets those of struct and others through.
            return _named(kind, "malformed")
        return _named(kind)


def _merged(messages: list[Message]) -> list[Message]:
    """Join neighbours that are encrypted and of one title."""
    merged: list[Message] = []
    for message in messages:
        last = merged[-1] if merged else None
        if (
            last is not None
            and message.size
            and (last.title, last.details) == (message.title, message.details)
        ):
            merged[-1] = Message(
                last.kind,
                last.title,
                last.details,
                last.plain,
                last.size + message.size,
                last.records + message.records,
            )
        else:
            merged.append(message)
    return merged


def _encrypted(what: str, kind: str, length: int) -> Message:
    return Message(kind, (f"TLS {what}", "encrypted"), size=length)


def _named(kind: int, *details: str) -> Message:
    name = _HANDSHAKES.get(kind, f"handshake message {kind}")
    return Message(name, (f"TLS {name}",), details)


def _alert(body: bytes) -> Message:
    if len(body) != 2:
        return Message("alert", ("TLS alert", "malformed"))
    level, description = body
    name = ssl.alert_description_str.get(description, "")
    name = name.split("_AD_")[-1].lower() or _ALERTS.get(description, f"number {description}")
    fatal = ("fatal",) if level == ssl.SSL3_AD_FATAL else ()
    return Message("alert", (f"TLS alert {name}",), fatal)


def _client_hello(body: bytes) -> Message:
    hello = ssl.TLSClientHello(body)
    extensions = _extensions(hello)
    name = _server_name(extensions.get(_SERVER_NAME, b""))
    offered = extensions.get(_SUPPORTED_VERSIONS, b"")[1:] or hello.version.to_bytes(2, "big")
    versions = [
        _VERSIONS[number].removeprefix("TLS ")
        for number in _numbers(offered)
        if number in _VERSIONS
    ]
    details = [f"server name {name}" if name else "no server name"]
    details.append(f"versions {' '.join(versions[:6])}")
    protocols = _protocols(extensions.get(_ALPN, b""))
    if protocols:
        details.append(f"ALPN {protocols}")
    return Message("ClientHello", ("TLS ClientHello",), tuple(details), name=name)


def _server_hello(body: bytes) -> Message:
    hello = ssl.TLSServerHello(body)
    extensions = _extensions(hello)
    chosen = extensions.get(_SUPPORTED_VERSIONS, b"")
    number = int.from_bytes(chosen, "big") if len(chosen) == 2 else hello.version
    version = _VERSIONS.get(number, f"version 0x{number:04x}")
    at = 35 + len(hello.session_id)
    code = int.from_bytes(body[at : at + 2], "big")
    suite = _SUITES.get(code) or (BY_CODE[code].name if code in BY_CODE else f"0x{code:04x}")
    name = "HelloRetryRequest" if body[2:34] == _RETRY else "ServerHello"
    details = [version, shorten(suite)]
    protocols = _protocols(extensions.get(_ALPN, b""))
    if protocols:
        details.append(f"ALPN {protocols}")
    return Message(name, (f"TLS {name}",), tuple(details), version=version)


def _certificate(body: bytes) -> Message:
    certificates = ssl.TLSCertificate(body).certificates
    if not certificates:
        return _named(_CERTIFICATE, "none")
    details = [f"{len(certificates)} of {sum(map(len, certificates))} bytes"]
    names = _names_in(bytes(certificates[0]))
    if names:
        details.append("for " + " ".join(names[:_MOST_NAMES]))
    if len(names) > _MOST_NAMES:
        details.append(f"and {len(names) - _MOST_NAMES} more names")
    return _named(_CERTIFICATE, *(shorten(each) for each in details))


def _extensions(hello: Any) -> dict[int, bytes]:
    return {kind: bytes(value) for kind, value in getattr(hello, "extensions", ())}


def _server_name(extension: bytes) -> str:
    """The name in a server_name extension (RFC 6066 section 3)."""
    length = int.from_bytes(extension[3:5], "big")
    return shorten(extension[5 : 5 + length].decode("ascii", "backslashreplace"), 48)


def _numbers(data: bytes) -> list[int]:
    return [int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data) - 1, 2)]


def _protocols(extension: bytes) -> str:
    """The names in an ALPN extension (RFC 7301 section 3.1)."""
    names: list[str] = []
    at = 2
    while at < len(extension) and len(names) < 8:
        length = extension[at]
        names.append(extension[at + 1 : at + 1 + length].decode("ascii", "backslashreplace"))
        at += 1 + length
    return shorten(" ".join(names), 48)


def _names_in(certificate: bytes) -> list[str]:
    """The DNS names of the subjectAltName extension in a DER certificate (RFC 5280 4.2.1.6)."""
    found = certificate.find(_SUBJECT_ALTERNATIVE_NAME)
    if found < 0:
        return []
    at = found + len(_SUBJECT_ALTERNATIVE_NAME)
    if certificate[at : at + 1] == b"\x01":  # critical: a BOOLEAN of one octet
        at += 3
    at = _contents(certificate, at)[0]  # OCTET STRING
    at, end = _contents(certificate, at)  # SEQUENCE
    names: list[str] = []
    while at < min(end, len(certificate)):
        kind = certificate[at]
        begin, at = _contents(certificate, at)
        if kind == _DNS_NAME:
            names.append(certificate[begin:at].decode("ascii", "backslashreplace"))
    return names


def _contents(data: bytes, at: int) -> tuple[int, int]:
    """Where the contents of a DER element begin and end."""
    length, begin = data[at + 1], at + 2
    if length & 0x80:
        octets = min(length & 0x7F, 3)
        begin += octets
        length = int.from_bytes(data[at + 2 : begin], "big")
    return begin, begin + length
