"""The page, in one piece, and the headers that bind a browser to it."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import fields
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tunstack.ladder.palette import DARK, LIGHT

if TYPE_CHECKING:
    from tunstack.ladder.palette import Palette

_HERE: Final = Path(__file__).parent
_SERIES: Final = ("blue", "orange", "green", "purple", "sky", "bad")
"""Colours that are classes of what is drawn."""


@cache
def page() -> bytes:
    """The page: HTML with its style and its script."""
    text = (_HERE / "page.html").read_text("utf-8")
    return text.replace("{{style}}", _style()).replace("{{script}}", _script()).encode()


@cache
def security_headers() -> tuple[tuple[str, str], ...]:
    """Headers of every answer: the browser runs what is ours, asks nobody else, and keeps nothing.

    The script and the style are named by their hashes: nothing that a packet says could become one.
    """
    policy = (
        "default-src 'none'",
        f"script-src '{_hash(_script())}'",
        f"style-src '{_hash(_style())}'",
        "connect-src 'self'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
    return (
        ("Content-Security-Policy", "; ".join(policy)),
        ("Cross-Origin-Resource-Policy", "same-origin"),
        ("X-Content-Type-Options", "nosniff"),
        ("Referrer-Policy", "no-referrer"),
        ("Cache-Control", "no-store"),
    )


@cache
def _script() -> str:
    return (_HERE / "page.js").read_text("utf-8")


@cache
def _style() -> str:
    """The style, with the colours of ladders and plots."""
    colors = "".join(f".{name}{{--color:var(--{name})}}" for name in _SERIES)
    dark = f"@media (prefers-color-scheme:dark){{{_variables(DARK)}}}"
    return _variables(LIGHT) + dark + colors + (_HERE / "page.css").read_text("utf-8")


def _variables(palette: Palette) -> str:
    pairs = (f"--{field.name}:{getattr(palette, field.name)}" for field in fields(palette))
    return f":root{{{';'.join(pairs)}}}"


def _hash(text: str) -> str:
    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}"


__all__ = ["page", "security_headers"]
