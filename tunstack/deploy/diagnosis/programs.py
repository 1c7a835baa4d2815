"""Optional packages and programs."""

from __future__ import annotations

import os
import shutil
from importlib import metadata
from typing import TYPE_CHECKING, Final

from tunstack.deploy.diagnosis.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

_TOPIC: Final = "Optional"
_PACKAGES: Final = (
    ("dnspython", "dns", "names and the DNS server"),
    ("h11", "http", "the http app"),
    ("trustme", "tls", "certificates, the https app"),
    ("hypercorn", "tls", "ASGI applications"),
    ("rich", "cli", "the command line"),
)
"""Each with the extra that brings it, and what it is for."""
_PROGRAMS: Final = (
    ("curl", "curl", "the demo"),
    ("tshark", "tshark", "reading captures by Wireshark's rules"),
    ("nsenter", "util-linux", "programs in a namespace start faster"),
)
"""Each with the package of Debian that brings it, and what it is for."""
_ALSO_IN: Final = ("/usr/sbin", "/sbin")


def program_findings() -> Iterator[Finding]:
    """What is installed beside tunstack."""
    for name, extra, purpose in _PACKAGES:
        try:
            text = f"{metadata.version(name)}: {purpose}"
        except metadata.PackageNotFoundError:
            advice = f"pip install 'tunstack[{extra}]'"
            yield Finding(_TOPIC, name, "warning", f"missing: {purpose}", advice)
        else:
            yield Finding(_TOPIC, name, "ok", text)
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *_ALSO_IN])
    for name, package, purpose in _PROGRAMS:
        found = shutil.which(name, path=path)
        if found is None:
            advice = f"install it: 'apt-get install {package}' on Debian"
            yield Finding(_TOPIC, name, "warning", f"missing: {purpose}", advice)
        else:
            yield Finding(_TOPIC, name, "ok", f"{found}: {purpose}")
