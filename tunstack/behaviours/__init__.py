"""How a peer, or the network before it, misbehaves: by name, on one port of a host.

    await nursery.start(partial(host.serve_tcp, handler, 80, behaviour="reset-after=4096"))
    tunstack run --serve http:80,reset-after=4096 -- curl http://peer.test/bytes/10000

A text is ``name`` or ``name=VALUE``; several are joined by commas, and one is of one direction with
``in:`` or ``out:`` before it. Values have units: octets ``4096`` or ``4kB``, times ``20ms`` or
``1.5s``, shares ``5%``, rates ``10mbit``. ``tunstack behaviours`` lists them, and so does
:func:`catalogue`. In place of a text there can be objects: ``ResetAfter(4096)``.

While the port is served its behaviours are in force; other ports, and other addresses than those
that are served, are not concerned. Each is made of rules on packets (:mod:`tunstack.path.rules`),
of verbs of a connection (:mod:`tunstack.socket.verbs`), or of a stream around that of the program,
which goes round it where it uses ``stream.socket`` itself; TCP knows nothing of them. Several apply
in the order of the text, to packets by rules, and the first one's stream is next to the socket.
Impairments come last, as one path for all connections of the port.

base        what a behaviour is
values      the kinds of its values, and their units
parsing     texts, and which exclude each other
known       all of them, by name
port        a port while it is served: rules, and what is remembered of connections
serving     behaviours in force, and the handler of connections
streams     the stream around a connection's
opening     no answer, a refusal, a late one
program     a program that is slow or talks nonsense
ending      RST, end of file or silence, after octets or a time
path        impairments, a small MTU, a cable that is pulled
segments    windows, ACKs, options, data twice or damaged
selecting   which connections misbehave
elsewhere   what goes wrong with names and TLS, in the same list
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunstack.lazy import lazily

if TYPE_CHECKING:
    from tunstack.behaviours.base import Behaviour
    from tunstack.behaviours.elsewhere import Elsewhere
    from tunstack.behaviours.ending import (
        CloseAfter,
        CloseIdle,
        CloseOnAccept,
        HalfClose,
        HalfOpen,
        LateFin,
        ResetAfter,
        ResetAtEnd,
        ResetIdle,
        ResetOnAccept,
        StallAfter,
        VanishAfter,
        VanishIdle,
    )
    from tunstack.behaviours.opening import (
        DropSyn,
        FailFirst,
        FullBacklog,
        Refuse,
        Silent,
        SlowAccept,
        Unreachable,
    )
    from tunstack.behaviours.parsing import BehaviourLike, check_one_process, parse
    from tunstack.behaviours.path import (
        Corrupt,
        Delay,
        Duplicate,
        Flapping,
        Jitter,
        Loss,
        PmtuBlackhole,
        Rate,
        Reorder,
        SmallMtu,
    )
    from tunstack.behaviours.program import Nonsense, SlowAnswer, SlowReader, Trickle
    from tunstack.behaviours.segments import (
        BlindReset,
        Damage,
        IcmpNoise,
        KeepAliveDeaf,
        NoOptions,
        OldDuplicate,
        Overlap,
        StopAcknowledging,
        TinyMss,
        Urgent,
        WrongAck,
        ZeroWindowAfter,
    )
    from tunstack.behaviours.selecting import Every, First, Share

__all__ = [
    "catalogue",
    "elsewhere_catalogue",
    "parse",
    "check_one_process",
    "Behaviour",
    "BehaviourLike",
    "Elsewhere",
    "Silent",
    "Refuse",
    "Unreachable",
    "DropSyn",
    "SlowAccept",
    "FullBacklog",
    "FailFirst",
    "SlowAnswer",
    "Trickle",
    "SlowReader",
    "Nonsense",
    "ResetOnAccept",
    "CloseOnAccept",
    "ResetAfter",
    "CloseAfter",
    "HalfClose",
    "ResetAtEnd",
    "LateFin",
    "StallAfter",
    "VanishAfter",
    "HalfOpen",
    "CloseIdle",
    "ResetIdle",
    "VanishIdle",
    "Loss",
    "Delay",
    "Jitter",
    "Duplicate",
    "Reorder",
    "Corrupt",
    "Rate",
    "Flapping",
    "SmallMtu",
    "PmtuBlackhole",
    "ZeroWindowAfter",
    "StopAcknowledging",
    "TinyMss",
    "NoOptions",
    "Damage",
    "Overlap",
    "OldDuplicate",
    "WrongAck",
    "BlindReset",
    "IcmpNoise",
    "Urgent",
    "KeepAliveDeaf",
    "First",
    "Every",
    "Share",
]

__getattr__ = lazily(
    __name__,
    {
        "base": ("Behaviour",),
        "elsewhere": ("Elsewhere",),
        "ending": (
            "CloseAfter",
            "CloseIdle",
            "CloseOnAccept",
            "HalfClose",
            "HalfOpen",
            "LateFin",
            "ResetAfter",
            "ResetAtEnd",
            "ResetIdle",
            "ResetOnAccept",
            "StallAfter",
            "VanishAfter",
            "VanishIdle",
        ),
        "opening": (
            "DropSyn",
            "FailFirst",
            "FullBacklog",
            "Refuse",
            "Silent",
            "SlowAccept",
            "Unreachable",
        ),
        "parsing": (
            "BehaviourLike",
            "check_one_process",
            "parse",
        ),
        "path": (
            "Corrupt",
            "Delay",
            "Duplicate",
            "Flapping",
            "Jitter",
            "Loss",
            "PmtuBlackhole",
            "Rate",
            "Reorder",
            "SmallMtu",
        ),
        "program": (
            "Nonsense",
            "SlowAnswer",
            "SlowReader",
            "Trickle",
        ),
        "segments": (
            "BlindReset",
            "Damage",
            "IcmpNoise",
            "KeepAliveDeaf",
            "NoOptions",
            "OldDuplicate",
            "Overlap",
            "StopAcknowledging",
            "TinyMss",
            "Urgent",
            "WrongAck",
            "ZeroWindowAfter",
        ),
        "selecting": (
            "Every",
            "First",
            "Share",
        ),
    },
)
"""The module of each public name, which is imported on the first use of the name.

Most ports behave: without a behaviour none is defined.
"""


def catalogue() -> tuple[type[Behaviour], ...]:
    """Return the classes of all behaviours, as they are listed."""
    from tunstack.behaviours.known import CLASSES

    return CLASSES


def elsewhere_catalogue() -> tuple[Elsewhere, ...]:
    """Return what goes wrong with names and TLS, and how to have it."""
    from tunstack.behaviours.elsewhere import ELSEWHERE

    return ELSEWHERE


def __dir__() -> list[str]:
    return sorted(__all__)
