"""`SetupError`, tunstack's own exception; all others are trio's and the operating system's."""

from __future__ import annotations

from typing import Final

SEE_DOCTOR: Final = "; 'tunstack doctor' tells what this machine allows"
"""The end of the message where the machine does not allow something."""


class SetupError(Exception):
    """A namespace, device or host could not be set up.

    The message is one line that says what is wrong and what to do about it.
    """
