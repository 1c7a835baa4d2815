"""`SetupError`, tunstack's own exception; all others are trio's and the operating system's."""

from __future__ import annotations


class SetupError(Exception):
    """A namespace, device or host could not be set up.

    The message is one line that says what is wrong and what to do about it.
    """
