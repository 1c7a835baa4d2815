"""The plugin as a user of pytest meets it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conformance.labels import NETWORK, REQUIREMENTS

if TYPE_CHECKING:
    from collections.abc import Callable

pytest_plugins = ["pytester"]


@pytest.fixture
def run(pytester: pytest.Pytester) -> Callable[..., pytest.RunResult]:
    """A function that runs pytest on a file with some tests."""

    def run(source: str, *options: str) -> pytest.RunResult:
        pytester.makeini("[pytest]\nmarkers =\n    rfc(label): what it shows")
        pytester.makepyfile(f"import pytest\n{source}")
        plugins = ("-p", "tests.conformance.plugin", "-p", "no:faulthandler")
        return pytester.runpytest_inprocess(*plugins, *options)

    return run


NEEDED = [label for label, row in {**REQUIREMENTS, **NETWORK}.items() if row.declined is None]
ALL = f"""
@pytest.mark.rfc(*{NEEDED})
def test_all(): pass
"""
SOME = """
@pytest.mark.rfc("MUST-13", "7323:5.3")
@pytest.mark.parametrize("case", [1, 2])
def test_one(case): pass
@pytest.mark.rfc("MUST-13")
class TestMore:
    def test_two(self): pass
    @pytest.mark.rfc("MUST-14")
    def test_three(self): assert False
def test_unmarked(): pass
"""


def test_marked_tests_alone_are_run_and_told_of(run: Callable[..., pytest.RunResult]) -> None:
    result = run(SOME, "--conformance")
    result.assert_outcomes(passed=3, failed=1, deselected=1)
    result.stdout.re_match_lines(
        [
            r"MUST-13 +3\.6\.1 +Whoever closes first waits .* +4 +fail +.*: one, three, two",
            r"MUST-14 +3\.7\.1 .* 1 +fail ",
            r"MUST-15 .* missing$",
            r"MUST-51 .* declined +IPv4 source routes ",
            r"RFC 7323, .*: 1 \(1 pass\)",
            r" +5\.3 +2 +pass ",
            r"MUST 69 \(2 fail, 64 missing, 3 declined\)",
        ]
    )


def test_all_that_is_needed_passes_the_run(run: Callable[..., pytest.RunResult]) -> None:
    assert run(ALL, "--conformance").ret == pytest.ExitCode.OK


def test_what_is_missing_fails_the_run(run: Callable[..., pytest.RunResult]) -> None:
    result = run('@pytest.mark.rfc("MUST-13")\ndef test_one(): pass', "--conformance")
    result.assert_outcomes(passed=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_a_test_that_fails_to_set_up_shows_nothing(run: Callable[..., pytest.RunResult]) -> None:
    source = """
@pytest.fixture
def broken(): assert False
@pytest.mark.rfc("MUST-13")
def test_one(broken): pass
@pytest.mark.rfc("MUST-14")
@pytest.mark.skip
def test_two(): pass
"""
    run(source, "--conformance").stdout.re_match_lines(
        [r"MUST-13 .* 1 +fail +", r"MUST-14 .* 1 +skipped +"]
    )


def test_without_the_option_all_tests_run_and_no_table_comes(
    run: Callable[..., pytest.RunResult],
) -> None:
    result = run(SOME)
    result.assert_outcomes(passed=4, failed=1)
    result.stdout.no_fnmatch_line("*conformance*")


@pytest.mark.parametrize("mark", ['("MUST-70")', '("9999:1")', "", '("MUST-1", why="so")'])
def test_an_unknown_label_is_an_error_of_the_whole_run(
    run: Callable[..., pytest.RunResult], mark: str
) -> None:
    result = run(f"@pytest.mark.rfc{mark}\ndef test_one(): pass")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*pytest.mark.rfc: *::test_one: *"])


def test_the_table_comes_from_several_processes_as_well(
    run: Callable[..., pytest.RunResult],
) -> None:
    result = run(SOME, "--conformance", "--numprocesses=2")
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.re_match_lines([r"MUST-13 .* 4 +fail ", r"RFC 7323, .*: 1 \(1 pass\)"])
