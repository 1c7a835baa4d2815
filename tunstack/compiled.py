"""What classes tell mypyc, which compiles the core; the interpreter knows nothing of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mypy_extensions import mypyc_attr as mypyc_attr
else:

    def mypyc_attr(**attributes: bool) -> Any:
        """Return a decorator that does nothing: `attributes` are for mypyc, which reads them."""
        return lambda kind: kind
