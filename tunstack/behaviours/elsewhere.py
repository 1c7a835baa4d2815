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
        copes: What a robust client does.
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


_VERIFY: Final = "It verifies certificates, and has no way to go on without."

ELSEWHERE: Final = (
    _fault(
        "no-answer",
        "no-answer[:N]",
        "the DNS server does not answer for a name",
        "Looking up has a time limit of its own, and does not block the rest.",
    ),
    Elsewhere(
        "dns-delay",
        "delay:SECONDS",
        "a fault of a name",
        "--name-fault NAME=delay:SECONDS, or Names(faults={NAME: 'delay:2'})",
        "the answer for a name is late",
        "--name-fault 'www.test=delay:2'",
        "Looking up has a time limit of its own, and does not block the rest.",
    ),
    _fault(
        "servfail",
        "servfail[:N]",
        "SERVFAIL for a name: for now it cannot be looked up",
        "It tries again later; it does not take that for a name that does not exist.",
    ),
    _fault("refused", "refused[:N]", "REFUSED for a name", "As with servfail."),
    _fault(
        "nxdomain",
        "nxdomain[:N]",
        "NXDOMAIN: the name does not exist",
        "It says which name; it does not remember that for ever.",
    ),
    _fault(
        "truncated",
        "truncated",
        "an empty answer over UDP: the resolver has to ask over TCP",
        "Its resolver does; nothing is to be done.",
    ),
    _fault(
        "wrong-id",
        "wrong-id",
        "answers to no question, as an attacker guesses them",
        "Its resolver drops them; looking up has a time limit.",
    ),
    _tls("https-expired", 4431, "a certificate that has expired", _VERIFY),
    _tls("https-wrong-name", 4432, "a certificate of another name", _VERIFY),
    _tls("https-self-signed", 4433, "a certificate that nobody has signed", _VERIFY),
    _tls(
        "https-stalled",
        4434,
        "a ClientHello is never answered",
        "Its time limit for connecting is for the handshake of TLS too.",
    ),
    _tls(
        "https-damaged",
        4435,
        "a record that fails to decrypt",
        "It reports an error of TLS, and keeps nothing of the answer.",
    ),
    _tls(
        "https-unclosed",
        4436,
        "end of file without close_notify: the answer may be cut",
        "It takes an answer that ends with the connection for cut, if its end was not said.",
    ),
)
"""The names are those of :mod:`tunstack.dns.faults` and of :data:`tunstack.apps.APPS`."""
