"""The command line: ``tunstack run``, ``serve``, ``connect``, ``trace`` and ``demo``.

One module a command; what they share is in `running` (signals, errors, exit statuses), `options`,
`watching` (captures and the live ladder), `reporting` (lines about connections) and `crew` (what
workers do). `ladder` draws packets, and knows nothing of the rest. It all needs click and rich,
which only the extra ``tunstack[cli]`` brings: nothing here but :func:`main` may be imported without
them.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: Without the program's name; None for those of the process.

    Returns:
        The exit status.
    """
    try:
        from tunstack.cli.root import run
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in ("click", "rich"):
            raise
        message = f"the command line needs {package}: pip install 'tunstack[cli]'"
        print(f"tunstack: {message}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return run(arguments)
