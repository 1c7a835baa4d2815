"""How the core was built."""

from __future__ import annotations

from tunstack.tcp import sequence


def build() -> str:
    """Return whether the core is compiled by mypyc or pure Python, in a word or two."""
    # Its module that imports no other is asked.
    return "pure Python" if str(sequence.__file__).endswith(".py") else "compiled"
