"""Options of IPv4 headers, and which octet of the header is wrong about them."""

from __future__ import annotations

from typing import Final, NamedTuple


class Case(NamedTuple):
    """Options in hex, and where a parameter problem points; None if nothing is wrong."""

    what: str
    options: str
    pointer: int | None = None


CASES: Final = (
    Case("nothing at all", "01010101"),
    Case("an end, and anything behind it", "00070707"),
    Case("no length", "0700", 20),
    Case("a length of 1", "0701", 20),
    Case("a length beyond the header", "07ff0400", 20),
    Case("no room for a length", "01010107", 23),
    Case("unknown", "88040000"),
    Case("unknown, of two octets", "5e020000"),
    Case("unknown, no length", "88000000", 20),
    Case("unknown, a length beyond the header", "88090000", 20),
    Case("security", "820b000000000000000000"),
    Case("record route", "0707040000000000"),
    Case("record route, full", "0707080000000000"),
    Case("record route, far beyond full", "0707ff0000000000"),
    Case("record route, empty", "07030400"),
    Case("record route, too short", "07020000", 21),
    Case("record route, pointer into the option's head", "0707030000000000", 22),
    Case("record route, pointer 0", "07030000", 22),
    Case("record route, no room where it points", "0707050000000000", 22),
    Case("record route, twice", "0707040000000007070400000000", 27),
    Case("behind another", "010101070705000000000000", 25),
    Case("loose source route, too short", "83020000", 21),
    Case("loose source route, pointer into the option's head", "8307030000000000", 22),
    Case("strict source route, pointer into the option's head", "8907030000000000", 22),
    Case("timestamp", "4408050000000000"),
    Case("timestamp, full", "4408090000000000"),
    Case("timestamp, overflown nearly too often", "440809e000000000"),
    Case("timestamp, overflown too often", "440809f000000000", 23),
    Case("timestamp, prespecified, overflown", "440809f300000000"),
    Case("timestamp, empty", "44040500"),
    Case("timestamp, too short", "44030500", 21),
    Case("timestamp, pointer into the option's head", "4408040000000000", 22),
    Case("timestamp, no room where it points", "4408060000000000", 22),
    Case("timestamp, no room at all", "4405050000000000", 22),
    Case("timestamp and address", "440c05010000000000000000"),
    Case("timestamp and address, no room", "4408050100000000", 22),
    Case("timestamp, prespecified", "440c05030000000000000000"),
    Case("timestamp, prespecified, no room", "4408050300000000", 22),
    Case("timestamp, flag of no meaning", "4408050200000000"),
    Case("timestamp, twice", "44080500000000004408050000000000", 28),
    Case("router alert", "94040000"),
    Case("router alert, longer", "9408000000000000"),
    Case("router alert, too short", "94020000", 21),
)
"""On each of them Linux agrees: see ``tests/kernel/test_tolerance.py``."""

ROUTES: Final = (
    Case("loose source route, completed", "8307080000000000"),
    Case("strict source route", "8907040000000000"),
    Case("loose source route, twice", "8307080000000083070800000000", 27),
    Case("loose and strict source route", "8307080000000089070800000000", 27),
)
"""Linux drops all four, and answers none: it takes no source routes unless it is told to."""
