# SPDX-License-Identifier: MIT
"""A run's figures beside those of an earlier run."""

from __future__ import annotations

import re

import pytest

from faked_run import CONFTEST, HOST, MEASURES, NOTHING_IS_BUILT, rows_in, run, starts
from pytest_xenscrub.run.blame import INFRASTRUCTURE_STATUS

pytestmark = pytest.mark.usefixtures("faked_host")


def earlier(project: pytest.Pytester) -> str:
    """Measures 1.25 s, and has the option that compares with it."""
    run(project, MEASURES, "--xen-results=earlier.jsonl", "-p", "no:terminal")
    return "--xen-compare=earlier.jsonl"


def test_an_earlier_run_is_compared(project: pytest.Pytester) -> None:
    compare = earlier(project)
    result = run(project, MEASURES.replace("1.25", "2.5"), compare)
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        [
            "*= compared with an earlier run =*",
            "then: emulated: *, xl 1.2.3, 20??-*",
            "now:  emulated: *, xl 1.2.3, 20??-*",
            "measured * 2.50 2.00x *",
        ]
    )


def test_the_file_compared_with_may_be_the_one_that_is_written(project: pytest.Pytester) -> None:
    compare = earlier(project)
    slower = MEASURES.replace("1.25", "2.5")
    result = run(project, slower, compare, "--xen-results=earlier.jsonl")
    result.stdout.fnmatch_lines(["measured * 2.50 2.00x *"])


@pytest.mark.parametrize(("now", "ret"), [("1.3", 0), ("1.5", 1)])
@pytest.mark.parametrize("verbosity", ["-v", "-q", "-qq"])
def test_a_regression_fails_a_run_whose_tests_pass(
    project: pytest.Pytester, now: str, ret: int, verbosity: str
) -> None:
    compare = earlier(project)
    limits = ("--xen-fail-if=destroy:median:10%", "--xen-fail-if=gone:max:1%")
    result = run(project, MEASURES.replace("1.25", now), compare, *limits, verbosity)
    assert result.ret == ret
    fault = "worse: measured (xl, as-is, 1024 MiB): destroy median: 1.25 then, 1.50 s now*"
    if ret:
        result.stdout.fnmatch_lines(["*--xen-fail-if: failed*", fault])
    else:
        result.stdout.no_fnmatch_line("*--xen-fail-if*")


def test_what_is_no_more_than_noise_fails_no_run_and_is_told(project: pytest.Pytester) -> None:
    def repeats(*seconds: float) -> str:
        lines = "".join(f"\n    measure({each})" for each in (9.0, *seconds))
        return f"def test_measured(measure):{lines}"  # the first is the one after the boot

    run(project, repeats(1.0, 1.1, 0.9, 1.5, 1.6), "--xen-results=earlier.jsonl")
    gate = ("--xen-compare=earlier.jsonl", "--xen-fail-if=destroy:median:10%")
    result = run(project, repeats(1.4, 1.3, 0.95, 1.05, 1.7), *gate)
    assert result.ret == 0
    result.stdout.fnmatch_lines([
        "*= --xen-fail-if: not held against this run =*",
        "within noise: measured *: destroy median: 1.10 then, 1.30 s now: 18.2% more*",
    ])  # fmt: skip
    result = run(project, repeats(1.7, 1.8, 1.75, 1.9, 1.65), *gate)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["worse: measured *more than noise: 5 and 5 repeats*"])


def test_a_regression_is_seen_with_workers(project: pytest.Pytester) -> None:
    compare = earlier(project)
    project.makepyfile(test_it=MEASURES.replace("1.25", "2.5"))
    limit = "--xen-fail-if=destroy:median:10%"
    project.makeconftest(CONFTEST + NOTHING_IS_BUILT)
    result = project.runpytest_subprocess(HOST, compare, limit, "-n2")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["worse: measured *", "*1 passed*"])


def test_a_gate_that_compared_nothing_because_the_host_was_lost_is_not_a_failure(
    project: pytest.Pytester,
) -> None:
    test = """
        from pytest_xenscrub.errors import HostLostError

        def test_measured(measure): raise HostLostError("no connection")
    """
    result = run(project, test, earlier(project), "--xen-fail-if=destroy:median:10%")
    result.assert_outcomes(errors=1)
    assert result.ret == INFRASTRUCTURE_STATUS
    slower = MEASURES.replace("1.25", "9.25") + "    raise OSError('later')"
    result = run(project, slower, "--xen-compare=earlier.jsonl", "--xen-fail-if=destroy:max:10%")
    result.assert_outcomes(errors=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED


@pytest.mark.parametrize(
    "test",
    [
        "def test_it(timings): pass",  # measures nothing
        MEASURES.replace("test_measured", "test_new"),
        "import pytest\ndef test_it(measure): pytest.skip('no tool')",
    ],
)
@pytest.mark.parametrize("terminal", [[], ["-p", "no:terminal"]])
def test_a_gate_that_compared_nothing_is_shut(
    project: pytest.Pytester, test: str, terminal: list[str]
) -> None:
    compare = earlier(project)
    result = run(project, test, compare, "--xen-fail-if=destroy:median:10%", *terminal)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    if not terminal:
        result.stdout.fnmatch_lines(["*--xen-fail-if: failed*", "not compared: *"])


def test_collecting_is_no_run_that_could_get_worse(project: pytest.Pytester) -> None:
    compare = earlier(project)
    limit = "--xen-fail-if=destroy:median:10%"
    assert run(project, MEASURES, compare, limit, "--collect-only").ret == 0


@pytest.mark.parametrize("figure", ["NaN", "Infinity", '"1.25"', "true"])
def test_a_figure_that_is_no_number_opens_no_gate(project: pytest.Pytester, figure: str) -> None:
    run(project, MEASURES, "--xen-results=earlier.jsonl")
    file = project.path / "earlier.jsonl"
    file.write_text(file.read_text().replace('"destroy": 1.25', f'"destroy": {figure}'))
    limit = ("--xen-compare=earlier.jsonl", "--xen-fail-if=destroy:median:10%")
    result = run(project, MEASURES.replace("1.25", "9"), *limit)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*earlier.jsonl:1: no result*"])


def test_other_machines_are_not_compared(project: pytest.Pytester) -> None:
    compare = earlier(project)
    project.makeconftest(CONFTEST.replace('"a CPU"', '"another CPU"'))
    result = run(project, MEASURES, compare)
    assert result.ret == 0
    line = "not compared: CPU model of the host: a CPU then, another CPU now"
    result.stdout.fnmatch_lines([line])
    result.stdout.no_fnmatch_line("*1.00x*")
    result = run(project, MEASURES, compare, "--xen-fail-if=destroy:median:10%")
    assert result.ret == pytest.ExitCode.TESTS_FAILED


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--xen-compare=none"], "*--xen-compare: */none: there is no such file*"),
        (["--xen-compare=test_it.py"], "*test_it.py:1: no result*"),
        (["--xen-fail-if=destroy:median:10%"], "*--xen-fail-if needs an earlier run*"),
        (["--xen-fail-if=destroy:10%"], "*--xen-fail-if: 'destroy:10%' is not a limit*"),
    ],
)
def test_what_cannot_be_compared_with_is_a_usage_error(
    project: pytest.Pytester, arguments: list[str], said: str
) -> None:
    result = run(project, MEASURES, *arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([said])
    assert starts(project) == []


def test_a_control_that_is_not_to_fail_is_no_fault_of_xens(project: pytest.Pytester) -> None:
    result = run(project, MEASURES, "--xen-control", "--runxfail")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --xen-control has tests that must fail*"])


def test_the_first_measurement_after_a_boot_is_marked(project: pytest.Pytester) -> None:
    test = """
        def test_one(measure): measure(); measure()
        def test_two(measure): measure()
        def test_after_a_break(managed_host, measure): pass
        def test_breaks(managed_host): managed_host.broke("it hangs")
        def test_after(measure): measure()
    """
    run(project, test, "--xen-results=r")
    rows = rows_in(project.path / "r")
    assert [(row["id"].split("::")[1], row["first_after_boot"]) for row in rows] == [
        ("test_one#0", True), ("test_one#1", False), ("test_two#0", False), ("test_after#0", True),
    ]  # fmt: skip


def test_a_result_says_where_it_comes_from(project: pytest.Pytester) -> None:
    run(project, MEASURES, "--xen-results=r")
    (row,) = rows_in(project.path / "r")
    known = ("host", "kind", "xen", "build_id", "total_bytes", "cpus", "cpu_model")
    assert [row[key] for key in known] == [
        "emulated", "emulated (TCG)", "4.17.5", "c0ffee", 4 << 30, 2, "a CPU",
    ]  # fmt: skip
    assert (row["toolstack"], row["toolstack_version"]) == ("xl", "1.2.3")
    assert re.fullmatch(r"\d+ x .+", row["emulated_on"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:]{8}\+00:00", row["started"])
    assert row["version"]
    assert row["series"] == {"free_bytes": [], "state": [], "backlog_pages": []}
