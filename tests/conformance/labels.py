"""The labels that a test may be marked with: RFC 9293's, and those and sections of other RFCs.

``@pytest.mark.rfc("MUST-13", "8200:4.5-2", "7323:5.3")`` says that the test shows all three: that
it would fail if the requirement were not met. ``labels.toml`` has RFC 9293's requirements, in its
order; ``network.toml`` those of the RFCs of IP, ICMP and UDP; of the others a section is named.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Final, NamedTuple

KINDS: Final = ("MUST", "SHLD", "MAY", "REC")
NEEDED: Final = ("MUST", "SHLD")
"""The kinds without which an implementation does not conform."""

_SECTION: Final = re.compile(r"(?P<rfc>\d+):(?P<section>(\d+|[A-Z])(\.\d+)*)")


class UnknownLabelError(ValueError):
    """A mark names a requirement that there is not."""


class Requirement(NamedTuple):
    """One of RFC 9293's labels, or of what `NETWORK` has of other RFCs.

    Attributes:
        label: As ``"MUST-13"``, or ``"8200:4.5-2"``.
        section: As ``"3.6.1"``.
        text: What it asks for, in a few words.
        declined: Why we do without it; None if we do not.
        level: MUST or SHLD, of a label that does not say it.
    """

    label: str
    section: str
    text: str
    declined: str | None = None
    level: str | None = None

    @property
    def kind(self) -> str:
        """MUST, SHLD, MAY or REC."""
        return self.level or self.label.partition("-")[0]


class Section(NamedTuple):
    """A section of another RFC, as ``(7323, "5.3")``; they are ordered as one reads them."""

    rfc: int
    name: str

    @property
    def order(self) -> tuple[int, list[tuple[int, str]]]:
        """What to sort by: 10 comes after 9, an appendix after all numbers."""
        parts = self.name.split(".")
        return self.rfc, [(int(part), "") if part.isdigit() else (99, part) for part in parts]


def _load() -> tuple[dict[str, Requirement], dict[int, str]]:
    data = tomllib.loads(Path(__file__).with_name("labels.toml").read_text())
    declined = data["declined"]
    requirements = {}
    for kind in KINDS:
        for number, (section, text) in data[kind].items():
            label = f"{kind}-{number}"
            requirements[label] = Requirement(label, section, text, declined.pop(label, None))
    assert not declined, f"declined, but there is no such label: {declined}"
    return requirements, {int(number): title for number, title in data["rfcs"].items()}


REQUIREMENTS, RFCS = _load()
"""RFC 9293's labels, and the titles of the other RFCs by their numbers."""


def _load_network() -> dict[str, Requirement]:
    data = tomllib.loads(Path(__file__).with_name("network.toml").read_text())
    declined = data.pop("declined")
    requirements = {}
    for rfc, rows in data.items():
        for name, (kind, text) in rows.items():
            label = f"{rfc}:{name}"
            section = name.partition("-")[0]
            reason = declined.pop(label, None)
            requirements[label] = Requirement(label, section, text, reason, kind)
    assert not declined, f"declined, but there is no such label: {declined}"
    return requirements


NETWORK = _load_network()
"""What other RFCs require of a host's IP, ICMP and UDP, by label: ``"8200:4.5-2"``."""


def parse(label: object) -> str | Section:
    """Tell what a mark's argument names: one of `REQUIREMENTS`, of `NETWORK`,
    or a section of one of `RFCS`.

    Raises:
        UnknownLabelError: neither.
    """
    if isinstance(label, str):
        if label in REQUIREMENTS or label in NETWORK:
            return label
        if (match := _SECTION.fullmatch(label)) and int(match["rfc"]) in RFCS:
            return Section(int(match["rfc"]), match["section"])
    raise UnknownLabelError(f"{label!r} is neither a label nor an RFC's section of labels.toml")
