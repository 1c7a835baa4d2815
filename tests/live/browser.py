"""Chromium in a namespace, driven by its DevTools protocol over two pipes."""

from __future__ import annotations

import base64
import json
import os
import select
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

    from tunstack.blocking import Namespace

TIMEOUT: Final = 30.0
"""Seconds for an answer, and for a condition to become true."""
_FLAGS: Final = (
    "--headless=new",
    "--no-sandbox",  # Not for root, otherwise.
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-extensions",
    "--disable-component-update",
    "--disable-background-networking",
    "--disable-crash-reporter",
    "--disable-breakpad",
    "--no-proxy-server",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)
_KEYS: Final = {
    "ArrowDown": 40,
    "ArrowUp": 38,
    "Enter": 13,
    "Escape": 27,
    "Tab": 9,
    " ": 32,
    "/": 191,
}
_TEXTS: Final = {"Enter": "\r", " ": " "}


class Browser:
    """A browser with one page."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._write = process.stdin.fileno()
        self._read = process.stdout.fileno()
        self._buffer = b""
        self._number = 0
        self._session: str | None = None
        self.errors: list[str] = []
        """What the page's console says that is an error, and exceptions of its script."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def show(
        self, *, width: int = 1440, height: int = 900, scheme: str = "light", scale: float = 1
    ) -> None:
        """Set the size of the window, and the colour scheme."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=scale,
            mobile=width < 600,
        )
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.call("Emulation.setEmulatedMedia", features=[feature])

    def go(self, url: str) -> None:
        """Load a page."""
        self.call("Page.navigate", url=url)
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'")

    def ask(self, expression: str) -> Any:
        """The value of an expression in the page."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in answer:
            raise AssertionError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def wait(self, condition: str) -> Any:
        """Wait until an expression is true, or what is like it; returns its value."""
        deadline = time.monotonic() + TIMEOUT
        while not (value := self.ask(condition)):
            if time.monotonic() > deadline:
                text = self.ask("document.body && document.body.innerText")
                raise AssertionError(f"never: {condition}\nthe page: {text}\n{self.errors}")
            time.sleep(0.05)
        return value

    def press(self, *keys: str) -> None:
        """Press keys, one after another: ``"ArrowDown"``, ``"Enter"``."""
        for key in keys:
            text = _TEXTS.get(key, key if len(key) == 1 else "")
            more = {"text": text} if text else {}
            code = _KEYS.get(key, ord(key[0]))
            pressed = {"key": key, "code": key, "windowsVirtualKeyCode": code}
            self.call("Input.dispatchKeyEvent", type="keyDown", **pressed, **more)
            self.call("Input.dispatchKeyEvent", type="keyUp", **pressed)

    def screenshot(self) -> bytes:
        """Take a picture, as PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])

    def close(self) -> None:
        """End the browser in order."""
        self._session = None
        self.call("Browser.close")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the DevTools protocol; returns its result."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while (answer := self._receive()).get("id") != self._number:
            self._note(answer)
        if "error" in answer:
            raise AssertionError(f"{method}: {answer['error']}")
        result: dict[str, Any] = answer["result"]
        return result

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], TIMEOUT)
            data = os.read(self._read, 1 << 16) if ready else b""
            if not data:
                raise AssertionError("the browser is gone" if ready else "the browser is silent")
            self._buffer += data
        message, _, self._buffer = self._buffer.partition(b"\0")
        answer: dict[str, Any] = json.loads(message)
        return answer

    def _note(self, event: dict[str, Any]) -> None:
        parameters = event.get("params", {})
        if event.get("method") == "Runtime.exceptionThrown":
            self.errors.append(str(parameters["exceptionDetails"]))
        elif event.get("method") == "Log.entryAdded" and parameters["entry"]["level"] == "error":
            self.errors.append(parameters["entry"]["text"])


@contextmanager
def open_browser(namespace: Namespace, program: str, folder: Path) -> Iterator[Browser]:
    """Run `program`, Chromium, in a namespace, with a profile in `folder`."""
    # It reads from descriptor 3 and writes to 4, which are the pipes to it.
    command = 'exec "$0" "$@" 3<&0 4>&1 </dev/null >/dev/null 2>/dev/null'
    arguments = [program, *_FLAGS, f"--user-data-dir={folder}", "about:blank"]
    with namespace.open_process(
        ["sh", "-c", command, *arguments],
        stdin=-1,
        stdout=-1,
        env={**os.environ, "HOME": str(folder)},
    ) as process:
        browser = Browser(process)
        yield browser
        browser.close()
        process.wait(TIMEOUT)
