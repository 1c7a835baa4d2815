"""The directive ``{run}``: commands run at each build, and what they print is shown."""

from __future__ import annotations

import io
import re
import sys
from typing import TYPE_CHECKING

import pytest
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

from tests.docs.snippets import DOCS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Build = Callable[..., str]

EXTENSIONS = DOCS / "_ext"
CONF = f"""
import sys
sys.path.insert(0, {str(EXTENSIONS)!r})
extensions = ["myst_parser", "runs"]
html_theme = "basic"
exclude_patterns = ["out"]
"""

sys.path.insert(0, str(EXTENSIONS))


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Build:
    """Builds a site of one page; returns the page as HTML."""
    import runs

    monkeypatch.setattr(runs, "why_not", lambda: None)
    for name in (runs.SWITCH, runs.KEEP):
        monkeypatch.delenv(name, raising=False)

    def built(page: str, builder: str = "html") -> str:
        (tmp_path / "conf.py").write_text(CONF)
        source = tmp_path / "index.md"
        if not source.exists() or source.read_text() != page:
            source.write_text(page)
        out = tmp_path / "out"
        site = Sphinx(
            tmp_path,
            tmp_path,
            out,
            out / "doctrees",
            builder,
            status=None,
            warning=io.StringIO(),
            warningiserror=True,
        )
        site.build()
        (written,) = (each for each in out.glob("index.*") if each.suffix in (".html", ".txt"))
        return written.read_text()

    return built


def text_of(html: str) -> str:
    """What a reader sees of the runs."""
    return "\n".join(
        re.sub(r"<[^>]*>", "", each) for each in re.findall(r"<pre>(.*?)</pre>", html, re.S)
    )


def test_the_commands_of_a_block_are_shown_with_what_they_print(build: Build) -> None:
    html = build("# Page\n\n```{run}\n$ echo one; echo error >&2\n$ echo two\n```\n")
    assert text_of(html) == "$ echo one; echo error &gt;&amp;2\none\nerror\n$ echo two\ntwo\n"


def test_colours_are_classes_that_suit_both_schemes(build: Build) -> None:
    html = build(r"""# Page

```{run}
$ printf '\033[1;36mbold\033[0m \033[2mdim\033[22m plain \033[31mred\033[32mgreen\033[39m'
```
""")
    assert '<span class="ansi-1 ansi-36">bold</span> <span class="ansi-2">dim</span> plain' in html
    assert '<span class="ansi-31">red</span><span class="ansi-32">green</span>' in html
    style = (DOCS / "_static" / "runs.css").read_text()
    assert all(re.search(rf"\.ansi-{code}\b", style) for code in (1, 2, 31, 32, 33, 34, 35, 36))


def test_commands_share_a_folder_with_the_files_of_their_page(build: Build) -> None:
    html = build("""# Page

<!-- file: answer.py -->
```python
print(42)
```

```{run}
$ python answer.py >answer
```

```{run}
$ cat answer
$ ls examples/echo_server.py
$ echo $PWD/answer
```
""")
    assert "$ cat answer\n42\n" in text_of(html)
    assert text_of(html).endswith("\nanswer\n")


@pytest.mark.parametrize(
    ("printed", "shown"),
    [
        (r"HTTP/1.1 200 OK\r\nServer: us\r\n\r\n", "HTTP/1.1 200 OK\nServer: us\n"),
        (r"one\rtwo\rthree\ndone\n", "three\ndone\n"),
        (r"working\r\033[Kdone\nworking\033[2K\n.\n", "done\n\n.\n"),
        (r"\033[K1 of 2\n", "1 of 2\n"),
    ],
    ids=["HTTP", "overwritten", "erased", "nothing erased"],
)
def test_lines_are_shown_as_they_remain_on_the_screen(
    build: Build, printed: str, shown: str
) -> None:
    html = build(f"# Page\n\n```{{run}}\n$ printf '{printed}'\n```\n")
    assert text_of(html).partition("\n")[2] == shown


def test_a_command_runs_on_a_terminal_of_84_columns(build: Build) -> None:
    html = build("# Page\n\n```{run}\n$ stty -F /dev/stdout size\n$ echo $COLUMNS\n```\n")
    assert re.findall(r"\d+$", text_of(html), re.M) == ["84", "84"]


def test_a_page_with_runs_is_read_in_every_build(build: Build, tmp_path: Path) -> None:
    (tmp_path / "count").write_text("")
    page = f"# Page\n\n```{{run}}\n$ echo >>{tmp_path}/count; wc -l <{tmp_path}/count\n```\n"
    assert [text_of(build(page)).splitlines()[1] for _ in range(2)] == ["1", "2"]


def test_runs_are_kept_on_demand_while_their_page_is_the_same(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import runs

    (tmp_path / "count").write_text("")
    page = f"# Page\n\n```{{run}}\n$ echo >>{tmp_path}/count; wc -l <{tmp_path}/count\n```\n"

    def shown(text: str) -> str:
        return text_of(build(text)).splitlines()[1]

    monkeypatch.setenv(runs.SWITCH, "1")
    assert shown(page) == runs.NOT_RUN
    monkeypatch.delenv(runs.SWITCH)
    monkeypatch.setenv(runs.KEEP, "1")
    assert shown(page) == "1"  # There was nothing to keep.
    assert shown(page) == "1"
    assert shown(f"{page}\nMore.\n") == "2"


def test_a_command_of_several_lines_is_one(build: Build) -> None:
    html = build("# Page\n\n```{run}\n$ echo one \\\n    two\n$ echo three\n```\n")
    assert text_of(html) == "$ echo one \\\n    two\none two\n$ echo three\nthree\n"


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        ("$ echo before; false", "index.md:3: $ echo before; false\nbefore\nexit status 1, not 0"),
        ("$ false\n$ true", "$ false\n\nexit status 1, not 0"),
        (":exit: 3\n$ true", "$ true\n\nexit status 0, not 3"),
        ("$ no-such-program", "exit status 127, not 0"),
        ("$ kill -9 $$", "exit status 137, not 0"),
        (":picture: x.svg\n:alt: x\n$ true", "the commands have not made the picture x.svg"),
        (":picture: x.svg\n$ true", "index.md:3: a picture needs :alt:"),
        ("echo", "index.md:3: after its options a {run} block begins with '$ ', a command"),
        (":exit: none\n$ true", "index.md:3: an exit status is a number"),
    ],
)
def test_what_is_wrong_ends_the_build_and_says_where(build: Build, block: str, reason: str) -> None:
    with pytest.raises(ExtensionError) as caught:
        build(f"# Page\n\n```{{run}}\n{block}\n```\n")
    assert reason in str(caught.value)


def test_an_expected_failure_is_shown(build: Build) -> None:
    html = build("# Page\n\n```{run}\n:exit: 3\n$ echo no; exit 3\n```\n")
    assert text_of(html) == "$ echo no; exit 3\nno\n"


def test_a_command_that_does_not_end_is_killed(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    import _commands

    monkeypatch.setattr(_commands, "TIMEOUT", 0.2)
    with pytest.raises(ExtensionError, match="not over after"):
        build("# Page\n\n```{run}\n$ sleep 1000\n```\n")


def test_a_picture_is_shown_in_both_schemes(build: Build, tmp_path: Path) -> None:
    html = build("""# Page

<!-- file: x.svg -->
```xml
<svg xmlns="http://www.w3.org/2000/svg">
<style>.a{fill:#fff}@media (prefers-color-scheme:dark){.a{fill:#000}}</style>
</svg>
```

```{run}
:picture: x.svg
:alt: "A <box>"
$ true
```
""")
    assert re.findall(r'src="(_images/.*?)" alt="&quot;A &lt;box&gt;&quot;"', html) == [
        "_images/index-x-light.svg",
        "_images/index-x-dark.svg",
    ]
    light, dark = (
        (tmp_path / "out/_images" / f"index-x-{each}.svg").read_text() for each in ("light", "dark")
    )
    assert "<style>.a{fill:#fff}</style>" in light
    assert "<style>.a{fill:#fff}.a{fill:#000}</style>" in dark


def test_other_formats_have_the_text(build: Build) -> None:
    text = build("# Page\n\n```{run}\n$ printf '\\033[36mcyan\\033[0m'\n```\n", "text")
    assert "\n   cyan\n" in text


def test_without_a_device_the_build_ends_with_what_the_doctor_says(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    import runs

    monkeypatch.setattr(runs, "why_not", lambda: "no /dev/net/tun")
    with pytest.raises(ExtensionError, match=r"(?s)no /dev/net/tun.*TUNSTACK_DOCS_WITHOUT_RUNS=1"):
        build("# Page\n\n```{run}\n$ true\n```\n")


def test_the_doctor_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    import _commands

    asked = []

    def run(command: str, *_: object, **__: object) -> tuple[int, str]:
        asked.append(command)
        return 1, "no device"

    monkeypatch.setattr(_commands, "run_on_terminal", run)
    assert _commands.why_not() == "no device"
    assert asked == ["tunstack doctor"]


def test_a_build_without_runs_shows_the_commands(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    import runs

    monkeypatch.setenv(runs.SWITCH, "1")
    html = build("# Page\n\n```{run}\n:picture: x.svg\n:alt: x\n$ false\n$ echo two\n```\n")
    assert text_of(html) == f"$ false\n$ echo two\n{runs.NOT_RUN}\n"
