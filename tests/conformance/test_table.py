"""What the conformance table makes of the tests' outcomes."""

from __future__ import annotations

import pytest

from tests.conformance.labels import NETWORK, REQUIREMENTS, RFCS, Section, UnknownLabelError, parse
from tests.conformance.table import Report, Row, short_name


def rows(report: Report) -> dict[str, Row]:
    return {row.label: row for _, rows in report.groups for row in rows}


def all_shown() -> Report:
    """A report in which every MUST and SHLD that is not declined has a test that passes."""
    report = Report()
    for requirement in (*REQUIREMENTS.values(), *NETWORK.values()):
        if requirement.kind in ("MUST", "SHLD") and requirement.declined is None:
            report.add(requirement.label, "tests/test_all.py::test_it", "passed")
    return report


def test_every_label_of_appendix_b_is_there_once() -> None:
    wanted = {"MUST": 69, "SHLD": 31, "MAY": 18, "REC": 1}
    labels = [f"{kind}-{number + 1}" for kind, most in wanted.items() for number in range(most)]
    assert list(REQUIREMENTS) == labels


def test_only_source_routes_are_declined_and_each_says_why() -> None:
    declined = {label: row.declined for label, row in REQUIREMENTS.items() if row.declined}
    assert set(declined) == {"MUST-51", "MUST-52", "MUST-53", "SHLD-24"}
    assert all("source routes" in reason for reason in declined.values())


def test_the_rfcs_of_the_network_have_labels_and_what_is_declined_says_why() -> None:
    rfcs = {int(label.partition(":")[0]) for label in NETWORK}
    assert rfcs <= {*RFCS}
    asked_for = {768, 1122, 4443, 5722, 6724, 6946, 8200, 8201}
    assert asked_for <= rfcs
    assert {row.kind for row in NETWORK.values()} == {"MUST", "SHLD"}
    declined = [row for row in NETWORK.values() if row.declined is not None]
    assert 0 < len(declined) < 20
    assert all(row.declined for row in declined)


def test_a_label_of_the_network_is_read_and_shown_with_its_kind() -> None:
    report = Report()
    assert parse("8200:4.5-1") == "8200:4.5-1"
    report.add("8200:4.5-1", "tests/test_x.py::test_it", "passed")
    row = rows(report)["MUST 8200:4.5-1"]
    assert (row.section, row.tests, row.verdict, row.shown) == ("4.5", "1", "pass", "x: it")
    assert rows(report)["MUST 8200:4.5-2"].verdict == "missing"
    assert rows(report)["SHLD 8200:5-4"].verdict == "declined"
    assert 8200 not in report.without_tests
    assert 8201 in report.without_tests


@pytest.mark.parametrize(
    "label",
    [
        "8200:4.5-99",
        "9293:3-1",
        "MUST-70",
        "SHLD-0",
        "MUST-013",
        "must-13",
        "99999:1",
        "7323",
        "7323:",
        "7323:x",
        13,
    ],
)
def test_a_label_that_there_is_not_is_refused(label: object) -> None:
    with pytest.raises(UnknownLabelError, match=r"neither a label nor an RFC's section"):
        parse(label)


def test_a_section_of_another_rfc_is_read() -> None:
    assert parse("7323:5.3") == Section(7323, "5.3")
    assert parse("7323:G") == Section(7323, "G")
    assert parse("MUST-13") == "MUST-13"


def test_a_label_without_a_test_is_missing() -> None:
    row = rows(Report())["MUST-13"]
    assert (row.section, row.tests, row.verdict, row.shown) == ("3.6.1", "0", "missing", "")


def test_a_declined_label_has_a_reason() -> None:
    row = rows(Report())["SHLD-24"]
    assert (row.verdict, row.tests) == ("declined", "0")
    assert "source routes" in row.shown


def test_tests_of_a_declined_label_count_nevertheless() -> None:
    report = Report()
    report.add("MUST-51", "tests/test_x.py::test_it", "passed")
    assert rows(report)["MUST-51"].verdict == "pass"


@pytest.mark.parametrize(
    ("outcomes", "verdict"),
    [
        (["passed", "passed"], "pass"),
        (["passed", "skipped"], "pass"),
        (["skipped"], "skipped"),
        (["passed", "failed", "skipped"], "fail"),
    ],
)
def test_one_that_passes_is_enough_and_one_that_fails_too_much(
    outcomes: list[str], verdict: str
) -> None:
    report = Report()
    for number, outcome in enumerate(outcomes):
        report.add("MUST-1", f"tests/test_x.py::test_it[{number}]", outcome)
    row = rows(report)["MUST-1"]
    assert (row.verdict, row.tests, row.shown) == (verdict, str(len(outcomes)), "x: it")


def test_many_names_are_cut_short() -> None:
    report = Report()
    for name in ("y.py::test_e", "x.py::test_c", "y.py::test_d", "x.py::test_b", "x.py::test_a"):
        report.add("MUST-1", f"tests/test_{name}", "passed")
    assert rows(report)["MUST-1"].shown == "x: a, b, c; and 2 more"


def test_names_stand_behind_their_modules() -> None:
    report = Report()
    for name in ("y.py::test_b", "x.py::test_c", "x.py::test_a"):
        report.add("MUST-1", f"tests/test_{name}", "passed")
    assert rows(report)["MUST-1"].shown == "x: a, c; y: b"


def test_a_test_is_named_by_its_module_and_what_it_says() -> None:
    assert short_name("tests/tcp/test_open.py::test_a_syn[a::b]") == ("open", "a_syn")
    assert short_name("tests/tcp/test_open.py::TestOpen::test_a_syn") == ("open", "a_syn")


def test_other_rfcs_follow_with_their_sections_in_order() -> None:
    report = Report()
    for section in ("7323:A", "7323:5.10", "7323:5.3", "1337:3"):
        report.add(parse(section), "tests/test_x.py::test_it", "passed")
    network = {label.partition(":")[0] for label in NETWORK}
    others = [
        (title, rows)
        for title, rows in report.groups
        if "9293" not in title and title.split()[1].strip(",") not in network
    ]
    assert [title for title, _ in others] == [
        "RFC 1337, TIME-WAIT assassination: 1 (1 pass)",
        "RFC 7323, Window scale, timestamps, PAWS: 3 (3 pass)",
    ]
    assert [row.section for row in others[1][1]] == ["5.3", "5.10", "A"]
    assert 7323 not in report.without_tests
    assert 6675 in report.without_tests


def test_the_verdicts_of_each_kind_are_counted() -> None:
    report = Report()
    report.add("MUST-1", "tests/test_x.py::test_it", "passed")
    report.add("MUST-2", "tests/test_x.py::test_it", "failed")
    assert "MUST 69 (1 pass, 1 fail, 64 missing, 3 declined)" in report.plain().splitlines()


def test_all_that_is_needed_conforms() -> None:
    assert all_shown().conforms


@pytest.mark.parametrize("outcome", ["failed", "skipped", None])
@pytest.mark.parametrize("label", ["MUST-69", "SHLD-31", "768:1-1", "8201:5.4-1"])
def test_one_that_is_needed_and_not_shown_does_not_conform(label: str, outcome: str | None) -> None:
    report = all_shown()
    del report.tests[label]
    if outcome is not None:
        report.add(label, "tests/test_x.py::test_it", outcome)
    assert not report.conforms


def test_a_may_that_fails_does_not_hinder() -> None:
    report = all_shown()
    report.add("MAY-1", "tests/test_x.py::test_it", "failed")
    assert report.conforms


def test_the_plain_table_has_aligned_columns() -> None:
    lines = all_shown().plain().splitlines()
    header = lines[0]
    (line,) = [line for line in lines if line.startswith("MUST-13 ")]
    assert line[header.index("Section") :].startswith("3.6.1")
    assert line[header.index("Verdict") :].startswith("pass")
    assert line.endswith("all: it")


def test_the_table_for_a_terminal_fits_it_and_has_colors() -> None:
    text = all_shown().rich(100)
    assert "\x1b[32mpass" in text
    assert "MUST-13" in text
