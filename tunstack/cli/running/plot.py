"""What ``tunstack plot`` does: a connection of a capture, drawn."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tunstack.cli.options.parameters import STANDARD
from tunstack.cli.output.files import (
    input_title,
    plot_format,
    read_rows,
    refuse_to_overwrite,
    write_output,
)
from tunstack.cli.output.terminal import report_left_out
from tunstack.cli.status import USAGE, Failure, print_error
from tunstack.link.errors import SetupError
from tunstack.plot.style import rendered
from tunstack.plot.traces import overview

if TYPE_CHECKING:
    from tunstack.capture import Capture


def plot(
    file: str,
    output: str | None,
    *,
    connection: int | None,
    reverse: bool,
    scheme: Literal["light", "dark"] | None,
) -> int:
    """Plot it; returns the exit status.

    Args:
        file: The capture.
        output: The file of the plot; None for one beside the capture.
        connection: The option.
        reverse: The option.
        scheme: The option.
    """
    if output is None:
        output = STANDARD if file == STANDARD else str(Path(file).with_suffix(".svg"))
    try:
        refuse_to_overwrite(file, output, "-o")
        kind = plot_format(output)
        capture = read_rows(file)
        chosen = capture.connection(connection)
        figure = overview(chosen, reverse=reverse, scheme=scheme)
        write_output(output, rendered(figure, kind, adaptive=scheme is None))
    except (ValueError, Failure, SetupError) as error:
        message = str(error)
    except OSError as error:
        message = f"cannot read {input_title(file)}: {error.strerror}"
    else:
        if output != STANDARD:
            print(output)
        report_left_out("tunstack plot", _left_out(capture))
        if not capture.damage:
            return 0
        message = capture.damage
    print_error("tunstack plot", message)
    return USAGE


def _left_out(capture: Capture) -> Counter[str]:
    """What is not plotted, by kind."""
    left_out = capture.skipped + Counter(
        packet.protocol for packet in capture.packets if packet.protocol != "TCP"
    )
    fragments = sum(packet.fragment and packet.protocol == "TCP" for packet in capture.packets)
    return left_out + Counter({"TCP fragment": fragments})
