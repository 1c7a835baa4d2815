"""One line of the diagnosis, and the whole."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, TypeAlias

Status: TypeAlias = Literal["ok", "warning", "failure"]
"""Failure: ``tunstack run`` does not work because of it. Warning: something else does not."""


class Finding(NamedTuple):
    """A fact about the machine.

    Attributes:
        topic: The group of findings that it belongs to.
        name: What it is about.
        status: How it is.
        text: The fact.
        advice: What to do about it; empty if nothing.
    """

    topic: str
    name: str
    status: Status
    text: str
    advice: str = ""


class Diagnosis(NamedTuple):
    """All findings.

    Attributes:
        findings: In the order in which they are read.
        failure: Why ``tunstack run`` does not work, in one line; None if it does.
    """

    findings: tuple[Finding, ...]
    failure: str | None

    @property
    def works(self) -> bool:
        """Whether ``tunstack run`` works."""
        return self.failure is None

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values, for JSON."""
        findings = [each._asdict() for each in self.findings]
        return {"works": self.works, "failure": self.failure, "findings": findings}
