"""The pictures of the page in docs/: ``python -m tests.live.pictures`` makes them anew.

A host of its own, in a namespace of its own, is shown idle, and while wrk and socat use it across a
path that is slow and loses what it cannot queue; in both colour schemes.
"""

from __future__ import annotations

import io
import shutil
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from PIL import Image

from tests.live.browser import open_browser
from tunstack.blocking import open_namespace

if TYPE_CHECKING:
    from tests.live.browser import Browser

FOLDER: Final = Path(__file__).parents[2] / "docs" / "_static" / "live"
ADDRESS: Final = "198.51.100.2"
PATH: Final = "delay=10ms,rate=40mbit,limit=60"
SECONDS: Final = 31
"""That the plots show."""
_COLORS: Final = 256


def main() -> int:
    """Make the pictures."""
    chromium = shutil.which("chromium")
    if chromium is None:
        print("chromium is missing: .ci/system-tools chromium", file=sys.stderr)
        return 1
    FOLDER.mkdir(exist_ok=True)
    with (
        TemporaryDirectory() as profile,
        open_namespace() as namespace,
        namespace.open_host(impair=PATH, seed=4) as host,
    ):
        page = host.serve_page()
        for app in ("http", "chargen", "echo"):
            host.serve_tcp(app)
        with open_browser(namespace, chromium, Path(profile)) as browser:
            browser.show(width=1360, height=590)
            browser.go(page.url)
            browser.wait("document.body.className === 'live'")
            time.sleep(3)
            take(browser, "idle", width=1360, height=590)
            wrk = ["wrk", "-t1", "-c18", "-d90", f"http://{ADDRESS}/bytes/2000"]
            bulk = ["socat", "-u", f"TCP:{ADDRESS}:19", "OPEN:/dev/null"]
            with namespace.open_process(wrk, stdout=-3), namespace.open_process(bulk):
                choose(browser, ":19")
                time.sleep(SECONDS)
                take(browser, "busy", width=1360, height=860)
    return 0


def choose(browser: Browser, local: str) -> None:
    """Choose the connection of a port."""
    rows = "[...document.querySelectorAll('#rows tr')]"
    row = f"{rows}.find(row => row.cells[1].textContent === '{local}')"
    browser.wait(f"Boolean({row})")
    browser.ask(f"{row}.click()")


def take(browser: Browser, name: str, *, width: int, height: int) -> None:
    """Take a picture in both schemes."""
    for scheme in ("light", "dark"):
        browser.show(width=width, height=height, scheme=scheme)
        time.sleep(1)
        save(browser, f"{name}-{scheme}")


def save(browser: Browser, name: str) -> None:
    """Write what the browser shows, in few colours."""
    data = io.BytesIO()
    picture = Image.open(io.BytesIO(browser.screenshot())).convert("RGB")
    picture.quantize(_COLORS, dither=Image.Dither.NONE).save(data, "PNG", optimize=True)
    (FOLDER / f"{name}.png").write_bytes(data.getvalue())
    print(f"{name}.png: {len(data.getvalue())} octets")


if __name__ == "__main__":
    sys.exit(main())
