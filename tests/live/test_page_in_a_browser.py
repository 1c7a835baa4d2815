"""The page in Chromium, in the namespace of the host that it shows.

A browser takes a second or two to start, so there is one, and one test; its parts are subtests.
"""

from __future__ import annotations

import io
import os
import shutil
import signal
import socket
import ssl
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.conftest import SEARCH_PATH
from tests.live.browser import open_browser
from tunstack.blocking import open_namespace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.live.browser import Browser
    from tunstack.blocking import Host, Namespace

pytestmark = pytest.mark.kernel

ADDRESS = "198.51.100.2"
MARKUP = b"<img/src=x/onerror=alert(1)>"
ROWS = "[...document.querySelectorAll('#rows tr')]"
LADDER = "[...document.querySelectorAll('#ladder .rung:not(.ends)')]"
QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


@pytest.fixture
def chromium(require_tool: Callable[[str], str]) -> str:
    names = ("chromium", "chromium-browser", "google-chrome")
    found = (shutil.which(name, path=SEARCH_PATH) for name in names)
    return next(filter(None, found), None) or require_tool("chromium")


@contextmanager
def traffic(namespace: Namespace, require_tool: Callable[[str], str]) -> Iterator[None]:
    """A curl, and a socat that says something ten times a second."""
    curl, socat = map(require_tool, ("curl", "socat"))
    talk = f"while sleep 0.1; do echo hello; done | exec {socat} - TCP:{ADDRESS}:7"
    slow = [curl, "-s", "--limit-rate", "50k", f"http://[2001:db8::2]/bytes/{1 << 30}"]
    with (
        namespace.open_process(slow, **QUIET),
        namespace.open_process(["sh", "-c", talk], start_new_session=True, **QUIET) as talking,
    ):
        try:
            yield
        finally:
            os.killpg(talking.pid, signal.SIGKILL)


def focus(browser: Browser, local: str) -> None:
    """Move to the first connection of a local port by the arrow keys."""
    browser.wait(f"{ROWS}.every(row => row.cells[0].innerText === 'ESTAB')")
    browser.ask("document.activeElement.blur()")
    browser.press("ArrowDown", "Home")
    for _ in range(10):
        if browser.ask("document.activeElement.closest('tr').cells[1].textContent") == local:
            return
        browser.press("ArrowDown")
    raise AssertionError(f"no connection of {local}")


def brightness(png: bytes) -> tuple[float, float]:
    """The mean of all pixels, from 0 to 1, and how far they are from it."""
    from matplotlib.image import imread

    pixels = imread(io.BytesIO(png), format="png")[..., :3]
    return float(pixels.mean()), float(pixels.std())


def nameless(browser: Browser) -> list[str]:
    """What a screen reader meets and cannot name."""
    roles = {"button", "checkbox", "combobox", "image", "log", "table", "textbox", "region"}
    nodes = browser.call("Accessibility.getFullAXTree")["nodes"]
    return [
        node["role"]["value"]
        for node in nodes
        if not node["ignored"]
        and node["role"]["value"] in roles
        and not node.get("name", {}).get("value")
    ]


def test_the_page_in_a_browser(
    chromium: str,
    require_tool: Callable[[str], str],
    subtests: pytest.Subtests,
    tmp_path: Path,
) -> None:
    with open_namespace() as namespace, namespace.open_host() as host:
        page = host.serve_page()
        for app in ("http", "echo"):
            host.serve_tcp(app)
        with open_browser(namespace, chromium, tmp_path / "profile") as browser:
            browser.show()
            browser.go(page.url)
            browser.wait("document.body.className === 'live'")
            with subtests.test("an idle host has no connections, and the page's own are hidden"):
                idle(browser)
            with traffic(namespace, require_tool):
                with subtests.test("the table has the connections of wrk, curl and socat"):
                    wrk = [require_tool("wrk"), "-c3", "-t1", "-d60", f"http://{ADDRESS}/"]
                    with namespace.open_process(wrk, **QUIET):
                        table(browser)
                with subtests.test("one is chosen by the keyboard, and its ladder grows"):
                    keyboard(browser)
                with subtests.test("its plots move, and its facts are those of ss"):
                    plots(browser)
                with subtests.test("it is readable in both schemes"):
                    schemes(browser)
                with subtests.test("it fits a phone"):
                    phone(browser)
                with subtests.test("everything has a name for a screen reader"):
                    assert nameless(browser) == []
                with subtests.test("Escape closes the connection"):
                    browser.press("Escape")
                    assert browser.ask("document.getElementById('chosen').hidden")
                with subtests.test("connections are found by their port"):
                    port(browser)
                with subtests.test("it can be stopped, and goes on"):
                    pause(browser)
            with subtests.test("markup in a packet is text on the page"):
                hostile(browser, namespace, host)
            with subtests.test("nothing was refused by the policy, and the script has no error"):
                assert browser.errors == []
            with subtests.test("when the host is gone the page says so"):
                page.close()
                browser.wait("document.body.className === 'lost'")


def idle(browser: Browser) -> None:
    assert browser.ask("document.getElementById('empty').textContent") == "No connections."
    assert ADDRESS in browser.ask("document.title")
    browser.ask("document.getElementById('own').click()")
    browser.wait(f"{ROWS}.length && {ROWS}.every(row => row.className === 'own')")
    browser.ask("document.getElementById('own').click()")
    browser.wait(f"{ROWS}.length === 0")


def table(browser: Browser) -> None:
    browser.wait(f"{ROWS}.length === 5 && {ROWS}.every(row => row.cells[0].innerText === 'ESTAB')")
    locals_ = browser.ask(f"{ROWS}.map(row => row.cells[1].textContent)")
    assert sorted(locals_) == [":7", ":80", ":80", ":80", ":80"]
    peers = browser.ask(f"{ROWS}.map(row => row.cells[2].textContent)")
    assert len([peer for peer in peers if peer.startswith("[2001:db8::1]:")]) == 1
    browser.wait(f"{ROWS}.every(row => /[1-9].* .?bit.s/.test(row.cells[6].textContent))")


def keyboard(browser: Browser) -> None:
    focus(browser, ":7")
    browser.press("Enter")
    browser.wait("document.getElementById('detail-title').textContent.startsWith('198.51.100.2:7')")
    assert browser.ask("document.activeElement.getAttribute('aria-pressed')") == "true"
    count = browser.wait(f"{LADDER}.length")
    browser.wait(f"{LADDER}.length > {count} + 3")
    words = browser.ask(f"{LADDER}.map(rung => rung.querySelector('.wire').textContent)")
    assert any("PSH,ACK" in each and "len 6" in each for each in words)
    # The focus stays where it was while the table is drawn again.
    assert browser.ask("document.activeElement.closest('tr').cells[1].textContent") == ":7"


def plots(browser: Browser) -> None:
    drawn = "document.querySelector('#window-plot .line:last-child').getAttribute('d')"
    before = browser.wait(drawn)
    browser.wait(f"{drawn} !== '{before}'")
    label = browser.ask("document.getElementById('window-plot').getAttribute('aria-label')")
    assert label.startswith("Congestion window 14.5 kB, slow start threshold none")
    facts = "Object.fromEntries([...document.querySelectorAll('#facts dt')].map(term =>"
    told = browser.ask(f"{facts} [term.textContent, term.nextElementSibling.textContent]))")
    assert told["State"] == "ESTABLISHED"
    assert told["MSS, path MTU"] == "1448, 1500"
    assert told["Control"] == "cubic"


def schemes(browser: Browser) -> None:
    browser.show(scheme="light")
    light = brightness(browser.screenshot())
    browser.show(scheme="dark")
    dark = brightness(browser.screenshot())
    assert light[0] > 0.85
    assert dark[0] < 0.2
    assert min(light[1], dark[1]) > 0.05  # It is not blank.


def phone(browser: Browser) -> None:
    browser.show(width=390, height=844)
    assert browser.ask("document.documentElement.scrollWidth") <= 390
    cut = (
        f"{ROWS}.map(row => row.cells[2].firstChild).filter(it => it.scrollWidth > it.clientWidth)"
    )
    assert browser.ask(f"{cut}.filter(it => !it.textContent.startsWith('[')).length") == 0
    browser.show()


def port(browser: Browser) -> None:
    browser.press("/", "7")
    browser.wait(f"{ROWS}.length === 1 && {ROWS}[0].cells[1].textContent === ':7'")
    browser.ask("document.getElementById('port').value = ''")


def pause(browser: Browser) -> None:
    status = "document.getElementById('status').textContent"
    browser.ask("document.activeElement.blur()")
    browser.press(" ")
    assert browser.wait(f"{status} === 'paused'")
    assert browser.ask("document.getElementById('pause').getAttribute('aria-pressed')") == "true"
    browser.press(" ")
    browser.wait(f"{status}.startsWith('live')")


def hostile(browser: Browser, namespace: Namespace, host: Host) -> None:
    """A ClientHello whose server name is markup."""
    hello = ssl.MemoryBIO()
    context = ssl.create_default_context()
    tls = context.wrap_bio(ssl.MemoryBIO(), hello, server_hostname="x" * len(MARKUP))
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    browser.wait(f"{ROWS}.every(row => row.cells[0].innerText === 'TIME-WAIT')")
    with namespace.sockets(), socket.create_connection((ADDRESS, 7)) as client:
        browser.wait(f"{ROWS}.some(row => row.cells[0].innerText === 'ESTAB')")
        browser.ask(f"{ROWS}.find(row => row.cells[0].innerText === 'ESTAB').click()")
        browser.wait("!document.getElementById('chosen').hidden")
        client.sendall(hello.read().replace(b"x" * len(MARKUP), MARKUP))
        browser.wait(f"document.getElementById('ladder').textContent.includes('{MARKUP.decode()}')")
    assert browser.ask("document.querySelectorAll('#detail img').length") == 0
