"""What goes wrong with names and TLS: made by other means, in the same list."""

from __future__ import annotations

from typing import Final, NamedTuple


class Elsewhere(NamedTuple):
    """A behaviour that is no word of ``behaviour=``.

    Attributes:
        name: Its name.
        usage: How it is written there.
        of: What it is.
        use: How to have it.
        summary: What the client meets, in one line.
        example: A command's option.
        copes: What a robust client does about it.
    """

    name: str
    usage: str
    of: str
    use: str
    summary: str
    example: str
    copes: str


def _fault(name: str, usage: str, summary: str, copes: str) -> Elsewhere:
    example = usage.replace("[:N]", ":2").replace("SECONDS", "2")
    return Elsewhere(
        name,
        usage,
        "a fault of a name",
        f"--name-fault NAME={usage}, or Names(faults={{NAME: {example!r}}})",
        summary,
        f"--name-fault 'www.test={example}'",
        copes,
    )


def _tls(name: str, port: int, summary: str, copes: str) -> Elsewhere:
    return Elsewhere(
        name,
        f"{name}[:PORT]",
        "an app over TLS",
        f"--serve {name}, on port {port} unless another is given",
        summary,
        f"--serve {name}",
        copes,
    )


_VERIFY: Final = "Verify certificates, and offer no way to go on without."

ELSEWHERE: Final = (
    _fault(
        "no-answer",
        "no-answer[:N]",
        "the DNS server does not answer for a name",
        "Limit the time of a lookup, and keep other work going meanwhile.",
    ),
    Elsewhere(
        "dns-delay",
        "delay:SECONDS",
        "a fault of a name",
        "--name-fault NAME=delay:SECONDS, or Names(faults={NAME: 'delay:2'})",
        "the answer for a name is late",
        "--name-fault 'www.test=delay:2'",
        "Limit the time of a lookup, and keep other work going meanwhile.",
    ),
    _fault(
        "servfail",
        "servfail[:N]",
        "SERVFAIL for a name: for now it cannot be looked up",
        "Retry later: it does not mean that the name does not exist.",
    ),
    _fault("refused", "refused[:N]", "REFUSED for a name", "As for servfail."),
    _fault(
        "nxdomain",
        "nxdomain[:N]",
        "NXDOMAIN: the name does not exist",
        "Report the name; do not remember the failure for ever.",
    ),
    _fault(
        "truncated",
        "truncated",
        "an empty answer over UDP: the resolver has to ask over TCP",
        "Nothing is needed: the resolver does.",
    ),
    _fault(
        "wrong-id",
        "wrong-id",
        "answers to no question, as an attacker guesses them",
        "Limit the time of a lookup: the resolver ignores such answers.",
    ),
    _tls("https-expired", 4431, "a certificate that has expired", _VERIFY),
    _tls("https-wrong-name", 4432, "a certificate of another name", _VERIFY),
    _tls("https-self-signed", 4433, "a certificate that nobody has signed", _VERIFY),
    _tls(
        "https-stalled",
        4434,
        "a ClientHello is never answered",
        "Include the TLS handshake in the time limit for connecting.",
    ),
    _tls(
        "https-damaged",
        4435,
        "a record that fails to decrypt",
        "Report a TLS error, and discard the answer.",
    ),
    _tls(
        "https-unclosed",
        4436,
        "end of file without close_notify: the answer may be cut",
        "Treat an answer that ends with the connection as cut, without close_notify.",
    ),
)
"""The names are those of :mod:`tunstack.dns.faults` and of :data:`tunstack.apps.APPS`."""
