"""``tunstack doctor``: what this machine allows, and what to do about the rest."""

from __future__ import annotations

import click

from tunstack.cli.options.parameters import COLOR

_EPILOG = """\b
Examples:
  tunstack doctor
  tunstack doctor --json | jq '.findings[] | select(.status != "ok")'
  tunstack doctor >/dev/null && tunstack demo

The exit status is 0 where tunstack run works, and 1 where it does not. A failure is why; a warning
tells what else does not work, or not as fast.
"""


@click.command(epilog=_EPILOG)
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@COLOR
def doctor(as_json: bool, color: bool | None) -> int:
    """Tell what this machine allows: the device, namespaces, offload, what is installed.

    What the kernel allows is tried, on throw-away devices in throw-away namespaces; nothing on the
    machine is changed.
    """

    from tunstack.cli.running import doctor as running

    return running.doctor(as_json=as_json, color=color)
