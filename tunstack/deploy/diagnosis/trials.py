"""The outcomes of :mod:`tunstack.link.trial`."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

import trio

from tunstack.link.starting import module_command

if TYPE_CHECKING:
    from collections.abc import Mapping

Outcome: TypeAlias = tuple[int, str] | None
"""The errno of a trial and its text; None if it succeeded."""

_SECONDS: Final = 30.0


class Trials(NamedTuple):
    """What was tried.

    Attributes:
        outcomes: By the trials' names.
        failure: Why there are none.
    """

    outcomes: Mapping[str, Outcome]
    failure: str = ""

    def outcome(self, name: str) -> Outcome:
        """Return the outcome of a trial; an error also where it could not be made."""
        return self.outcomes.get(name, (0, f"not tried: {self.failure}"))


async def try_all(node: str) -> Trials:
    """Make all trials, with the device node at the path `node`."""
    failure = f"the trial took more than {_SECONDS:.0f} s"
    with trio.move_on_after(_SECONDS):
        try:
            done = await trio.run_process(
                module_command("link.trial", node, libraries=("pytun",)),
                capture_stdout=True,
                capture_stderr=True,
            )
            outcomes = json.loads(done.stdout)
        except subprocess.CalledProcessError as error:
            failure = error.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        except (OSError, ValueError) as error:
            failure = str(error)
        else:
            return Trials({name: each and (each[0], each[1]) for name, each in outcomes.items()})
    return Trials({}, failure or "no reason was given")
