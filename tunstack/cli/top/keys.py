"""The keys that a terminal sends, by name."""

from __future__ import annotations

import codecs
from typing import Final

_NAMES: Final = {
    "\r": "enter",
    "\n": "enter",
    "\x7f": "backspace",
    "\b": "backspace",
    "\x15": "clear",
    "\x0c": "redraw",
}
_SEQUENCES: Final = {
    "[A": "up",
    "[B": "down",
    "[C": "right",
    "[D": "left",
    "[H": "home",
    "[F": "end",
    "OA": "up",
    "OB": "down",
    "OC": "right",
    "OD": "left",
    "OH": "home",
    "OF": "end",
    "[1~": "home",
    "[4~": "end",
    "[5~": "page up",
    "[6~": "page down",
    "[7~": "home",
    "[8~": "end",
}
_ESCAPE: Final = "\x1b"
_LONGEST: Final = 16
"""Characters of a control sequence; a longer one is none."""


class Keys:
    """Decodes keys, however their octets are divided.

    Printable characters are their own names. The others are ``"up"``, ``"down"``, ``"left"``,
    ``"right"``, ``"home"``, ``"end"``, ``"page up"``, ``"page down"``, ``"enter"``,
    ``"backspace"``, ``"escape"``, ``"clear"`` (Ctrl-U) and ``"redraw"`` (Ctrl-L). All else is
    ignored.
    """

    def __init__(self) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._text = ""

    @property
    def waiting(self) -> bool:
        """Whether a key has begun: after a moment without more, call :meth:`flush`."""
        return bool(self._text)

    def feed(self, data: bytes) -> list[str]:
        """The keys that these octets complete."""
        self._text += self._decode(data)
        keys = []
        while self._text:
            taken = self._sequence() if self._text[0] == _ESCAPE else 1
            if not taken:
                break
            text, self._text = self._text[:taken], self._text[taken:]
            name = _SEQUENCES.get(text[1:], "") if taken > 1 else _NAMES.get(text, text)
            if name and (len(name) > 1 or name.isprintable()):
                keys.append(name)
        return keys

    def flush(self) -> list[str]:
        """The escape key, if that is what has begun; a sequence that was cut short is dropped."""
        text, self._text = self._text, ""
        return ["escape"] if text == _ESCAPE else []

    def _sequence(self) -> int:
        """Characters of the control sequence that the text begins with; 0: more are needed."""
        text = self._text
        if len(text) < 2:
            return 0
        if text[1] == "O":
            return 3 if len(text) > 2 else 0
        if text[1] != "[":
            return 2  # With Alt.
        for place, letter in enumerate(text[2:_LONGEST], 2):
            if "@" <= letter <= "~":
                return place + 1
        return _LONGEST if len(text) >= _LONGEST else 0
