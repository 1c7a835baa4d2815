"""Completion of shells, by click."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

TUNSTACK = [sys.executable, "-c", "import sys; from tunstack.cli import main; sys.exit(main())"]


def completion(instruction: str, **variables: str) -> str:
    environment = {**os.environ, "_TUNSTACK_COMPLETE": instruction, **variables}
    return subprocess.run(
        TUNSTACK, env=environment, check=True, stdout=subprocess.PIPE, text=True
    ).stdout


@pytest.mark.parametrize(
    ("shell", "line"),
    [
        ("bash", "complete -o nosort -F _tunstack_completion tunstack"),
        ("zsh", "#compdef tunstack"),
        ("fish", "complete --no-files --command tunstack"),
    ],
)
def test_the_script_of_each_shell_is_printed(shell: str, line: str) -> None:
    assert line in completion(f"{shell}_source")


def test_commands_are_completed() -> None:
    found = completion("bash_complete", COMP_WORDS="tunstack b", COMP_CWORD="1").split()
    assert found == ["plain,behaviours", "plain,bench", "plain,bench-loss", "plain,bridge"]


def test_options_of_a_command_are_completed() -> None:
    found = completion("bash_complete", COMP_WORDS="tunstack doctor --", COMP_CWORD="2").split()
    assert {"plain,--json", "plain,--color", "plain,--no-color"} <= set(found)


def test_commands_are_completed_without_importing_them() -> None:
    script = (
        "import sys; from tunstack.cli import main; status = main(); "
        "sys.exit('trio' in sys.modules or status)"
    )
    subprocess.run(
        [sys.executable, "-c", script],
        env={
            **os.environ,
            "_TUNSTACK_COMPLETE": "bash_complete",
            "COMP_WORDS": "tunstack ",
            "COMP_CWORD": "1",
        },
        check=True,
        stdout=subprocess.DEVNULL,
    )
