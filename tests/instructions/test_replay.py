"""What is counted is what it is said to be."""

from __future__ import annotations

import pytest

from tests.instructions import served
from tests.instructions.__main__ import COLUMNS, NAMES, TABLE, WIDTH, table
from tests.instructions.__main__ import KINDS as ALL_KINDS
from tests.instructions.replay import BULK, KINDS, REQUEST, play


@pytest.mark.parametrize(
    ("kind", "octets"),
    [
        ("request", len(REQUEST)),
        ("connection", len(REQUEST)),
        ("segment", None),
        ("answer", 1),
        ("protocol request", len(REQUEST)),
        ("protocol connection", len(REQUEST)),
    ],
)
@pytest.mark.parametrize("family", ["", "6"], ids=["IPv4", "IPv6"])
def test_a_recording_that_is_played_reaches_the_application(
    kind: str, octets: int | None, family: str
) -> None:
    """Whose stack has the same numbers: else it would answer with a RST."""
    octets = len(BULK[6 if family else 4]) if octets is None else octets
    kind += family
    assert play(kind, KINDS[kind](5)) == 5 * octets


@pytest.mark.parametrize(
    ("kind", "sent"),
    [
        ("served-request", 12),
        ("served-connection", 31),
        ("factory-request", 12),
        ("factory-connection", 31),
    ],
)
def test_a_recording_that_is_played_to_a_host_draws_all_answers(kind: str, sent: int) -> None:
    """Beside an answer to each request the SYN,ACK; of connections the ACK of the client's FIN,
    and the first one's FIN, whose answer waits for none."""
    assert served.play(kind, served.KINDS[kind](10)) == sent


def test_the_table_has_figures_for_each_kind_pure_and_compiled() -> None:
    lines = TABLE.read_text().splitlines()[2:]
    width = WIDTH * len(COLUMNS)
    assert lines[0].split() == [*COLUMNS]
    assert [line[width + 2 :] for line in lines[1:]] == [NAMES[kind] for kind in ALL_KINDS]
    for line in lines[1:]:
        pure, compiled = (int(figure.replace(",", "")) for figure in line[:width].split())
        assert pure > compiled > 10_000


def test_figures_of_any_size_stay_columns() -> None:
    figures = dict.fromkeys(ALL_KINDS, 9_876_543)
    lines = table({"pure": figures, "compiled": figures}).splitlines()[3:]
    assert all(line.split()[:2] == ["9,876,543"] * 2 for line in lines)
