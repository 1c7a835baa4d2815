"""What ``tunstack stats`` does: the times of a capture's connections."""

from __future__ import annotations

from collections import Counter

from tunstack.cli.output.files import input_title, read_packets
from tunstack.cli.output.terminal import console, report_left_out
from tunstack.cli.output.timings import print_timings
from tunstack.cli.status import USAGE, output_failure, print_error
from tunstack.ladder import step_from_capture
from tunstack.ladder.timing import Timings


def stats(file: str, *, full: bool, color: bool | None) -> int:
    """Print them; returns the exit status.

    Args:
        file: The capture.
        full: The option.
        color: The option.
    """
    skipped: Counter[str] = Counter()
    timings = Timings()
    message = ""
    try:
        for packet in read_packets(file, skipped):
            timings.add(step_from_capture(packet.time, packet.packet, packet.comment))
    except ValueError as error:
        message = str(error)
    except OSError as error:
        if output_failure(error):
            raise
        message = f"cannot read {input_title(file)}: {error.strerror}"
    if timings.connections:
        print_timings(console(color=color), timings, full=full)
    elif not message:
        message = f"{input_title(file)} has no TCP connection from its beginning on"
    report_left_out("tunstack stats", skipped)
    if timings.unopened:
        several = timings.unopened > 1
        print_error(
            "tunstack stats",
            f"{timings.unopened} TCP connection{'s are' if several else ' is'} left out:"
            f" {'their' if several else 'its'} beginning was not seen",
        )
    if message:
        print_error("tunstack stats", message)
        return USAGE
    return 0
