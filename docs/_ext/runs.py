"""The directive ``{run}``: commands that run at each build of the documentation, and their output.

What a page shows is what the commands print today; a command that fails ends the build, which says
where. Pages are performed in parallel, before any of them is read; `_commands` says how the blocks
of a page look and run. Options:

``exit``
    The exit status that the last command must have; 0 by default.
``picture``
    A file that the commands have made, an SVG, to be shown below their output; or several.
``alt``
    What the picture shows, in words.

With ``TUNSTACK_DOCS_KEEP_RUNS=1`` the commands of pages that have not changed since they were last
run are not run again, which takes minutes: ``make lint`` does so.

Where no TUN device may be opened, the build ends with what ``tunstack doctor`` says. With
``TUNSTACK_DOCS_WITHOUT_RUNS=1`` the commands are shown, and not run.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Final

from _commands import Block, Outcome, blocks_of, perform, why_not
from _pictures import in_scheme
from _terminal import as_html, plain
from docutils import nodes
from docutils.parsers.rst import directives
from sphinx import addnodes
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment
    from sphinx.util.typing import ExtensionMetadata

SWITCH: Final = "TUNSTACK_DOCS_WITHOUT_RUNS"
KEEP: Final = "TUNSTACK_DOCS_KEEP_RUNS"
NOT_RUN: Final = "(Not run: this is a build without runs.)"
_JOBS: Final = 2 * (os.cpu_count() or 1)
"""Pages at a time; most of them wait."""
_SCHEMES: Final = ("light", "dark")

_outcomes: dict[str, dict[int, Outcome]] = {}
"""Of the pages that are read in this build, each by the line of its block."""


def pages_with_runs(
    _app: Sphinx, env: BuildEnvironment, _added: set[str], _changed: set[str], _removed: set[str]
) -> list[str]:
    """Every page with a run is read in every build: what it shows may have changed.

    But not if what was run last is to be kept, and there is something to keep.
    """
    if os.environ.get(KEEP) and getattr(env, "tunstack_runs_are_made", False):
        return []
    return [name for name in env.found_docs if "```{run}" in Path(env.doc2path(name)).read_text()]


def perform_pages(app: Sphinx, env: BuildEnvironment, docnames: Iterable[str]) -> None:
    """Run the commands of all pages that are to be read.

    Raises:
        ExtensionError: Some failed, or none can run here.
    """
    paths = {name: Path(env.doc2path(name)) for name in docnames}
    pages: dict[str, list[Block]] = {}
    failures = []
    for name, path in paths.items():
        try:
            pages[name] = blocks_of(path.read_text())
        except ValueError as error:
            failures.append(f"{path}:{error}")
    if os.environ.get(SWITCH):
        for name, blocks in pages.items():
            _outcomes[name] = {each.line: _not_run(each) for each in blocks}
    elif any(pages.values()):
        _perform([paths[name].read_text() for name in pages], [*pages])
    for name in pages:
        _write_pictures(name, _outcomes.get(name, {}), Path(app.outdir))
        failures += [
            f"{paths[name]}:{line}: {plain(outcome.failure)}"
            for line, outcome in _outcomes.get(name, {}).items()
            if outcome.failure is not None
        ]
    env.tunstack_runs_are_made = not os.environ.get(SWITCH)  # type: ignore[attr-defined]
    if failures:
        raise ExtensionError("\n\n".join(["commands of pages failed", *sorted(failures)]))


def _perform(texts: list[str], names: list[str]) -> None:
    if reason := why_not():
        raise ExtensionError(
            f"the commands of the pages cannot run here, says tunstack doctor:\n{reason}\n"
            f"To build without them: {SWITCH}=1 make docs"
        )
    with ThreadPoolExecutor(_JOBS) as pool:
        _outcomes.update(zip(names, pool.map(perform, texts), strict=True))


def _not_run(block: Block) -> Outcome:
    return Outcome(block, printed=["" for _ in block.commands[1:]] + [NOT_RUN])


class RunDirective(SphinxDirective):
    """Shows the commands of a block, and what they have printed."""

    has_content = True
    option_spec = {  # noqa: RUF012
        "exit": directives.nonnegative_int,
        "picture": directives.unchanged_required,
        "alt": directives.unchanged_required,
    }

    def run(self) -> list[nodes.Node]:
        """Return what is shown."""
        outcome = _outcomes.get(self.env.docname, {}).get(self.lineno)
        if outcome is None:
            raise self.error("a {run} block stands for itself, within no other block")
        shown = [f"$ {command}" for command in outcome.block.commands]
        text = "\n".join(
            f"{command}\n{plain(printed)}"
            for command, printed in zip(shown, outcome.printed, strict=False)
        )
        on_site = addnodes.only(expr="html")
        on_site += nodes.raw("", _html(outcome), format="html")
        elsewhere = addnodes.only(expr="not html")
        elsewhere += nodes.literal_block(text, text, language="text")
        pictures = addnodes.only(expr="html")
        alt = outcome.block.options.get("alt", "")
        for name in outcome.pictures:
            html = _both_schemes(self.env.docname, name, alt)
            pictures += nodes.raw("", html, format="html")
        return [on_site, elsewhere, pictures]


def _write_pictures(docname: str, outcomes: dict[int, Outcome], site: Path) -> None:
    """Write the pictures of a page into the site, once for each colour scheme."""
    (site / "_images").mkdir(parents=True, exist_ok=True)
    for outcome in outcomes.values():
        for name, svg in outcome.pictures.items():
            for scheme in _SCHEMES:
                (site / _file_of(docname, name, scheme)).write_text(in_scheme(svg, scheme))


def _both_schemes(docname: str, name: str, alt: str) -> str:
    """Show a picture in both schemes, of which the theme shows one."""
    up = "../" * docname.count("/")
    return "\n".join(
        f'<img class="run-picture only-{scheme}" src="{up}{_file_of(docname, name, scheme)}"'
        f' alt="{escape(alt)}">'
        for scheme in _SCHEMES
    )


def _file_of(docname: str, name: str, scheme: str) -> str:
    return f"_images/{docname.replace('/', '-')}-{Path(name).stem}-{scheme}.svg"


def _html(outcome: Outcome) -> str:
    parts = []
    for command, printed in zip(outcome.block.commands, outcome.printed, strict=False):
        parts.append(f'<span class="run-command">$ {escape(command)}</span>\n')
        parts += [as_html(printed), "\n"] if printed else []
    inner = f'<div class="highlight"><pre>{"".join(parts)}</pre></div>'
    return f'<div class="highlight-console notranslate run">{inner}</div>'


def setup(app: Sphinx) -> ExtensionMetadata:
    """Add the directive."""
    app.add_directive("run", RunDirective)
    app.add_css_file("runs.css")
    app.connect("env-get-outdated", pages_with_runs)
    app.connect("env-before-read-docs", perform_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
