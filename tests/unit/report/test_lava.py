# SPDX-License-Identifier: MIT
"""Lines for LAVA, read as its test shell and its dispatcher read them."""

from __future__ import annotations

import re
import subprocess
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.report.export.lava import to_lava
from pytest_xenscrub.report.outcome import CUT_SHORT, Outcome
from pytest_xenscrub.report.results import RunResults
from pytest_xenscrub.scrub.row import METRICS
from pytest_xenscrub.units import GIB

from .test_export import CLEAN, HOSTILE

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_xenscrub.scrub.row import Row

    MakeRow = Callable[..., Row]

SHELL = """
lava-test-case() {
    test_case=$1
    shift
    line="<LAVA_SIGNAL_TESTCASE TEST_CASE_ID=$test_case"
    while [ $# -gt 0 ]; do
        case $1 in
        --result) line="$line RESULT=$2" ;;
        --units) line="$line UNITS=$2" ;;
        --measurement) line="$line MEASUREMENT=$2" ;;
        *) echo "usage: $1"; exit 1 ;;
        esac
        shift 2
    done
    echo "$line>"
}
"""
"""LAVA's helper: the options that it takes, and the signal that it prints."""


def results(*rows: Row, tests: dict[str, str] | None = None, **run: object) -> list[RunResults]:
    outcomes = {name: Outcome(name, outcome) for name, outcome in (tests or {}).items()}
    numbered = {f"{number}": row for number, row in enumerate(rows)}
    return [RunResults("", numbered, outcomes, known=CLEAN | run)]


def cases(runs: list[RunResults]) -> dict[str, dict[str, str]]:
    """What LAVA's dispatcher makes of the lines: of each signal, the words up to `>`."""
    done = subprocess.run(
        ["bash", "-euc", SHELL + to_lava(runs)], capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    found: dict[str, dict[str, str]] = {}
    for line in done.stdout.splitlines():
        match = re.fullmatch(r"<LAVA_SIGNAL_(\S+) ([^>]+)>", line)
        assert match is not None, line
        words = dict(word.split("=", 1) for word in match[2].split())
        name = words.pop("TEST_CASE_ID")
        assert name not in found
        assert len(name) <= 100
        assert re.fullmatch(r"[\w.+-]+", name)
        assert words["RESULT"] in ("pass", "fail", "skip", "unknown")
        assert words.keys() <= {"RESULT", "UNITS", "MEASUREMENT"}
        if "MEASUREMENT" in words:
            assert "UNITS" in words
            # As its database has it.
            _, digits, exponent = Decimal(words["MEASUREMENT"]).as_tuple()
            assert isinstance(exponent, int)
            assert exponent >= -10
            assert len(digits) <= 30
        found[name] = words
    return found


def test_measurements(a_row: MakeRow) -> None:
    row = a_row(1.25, coverage=0.99, probe_bytes_per_second=2.0 * GIB)
    found = cases(results(row, tests={row.setting.test: "passed"}))
    assert found["xenscrub"] == {"RESULT": "pass"}
    assert found["test_destroyed_guest"] == {"RESULT": "pass"}
    assert found["destroyed_guest-stock-xl-1024-MiB.destroy"] == {
        "RESULT": "pass", "MEASUREMENT": "1.25", "UNITS": "s",
    }  # fmt: skip
    assert found["destroyed_guest-stock-xl-1024-MiB.coverage"]["UNITS"] == "ratio"


def test_each_figure_there_is_has_a_unit_of_one_word(a_row: MakeRow) -> None:
    row = a_row(1.0, **{metric.name: 1.5 for metric in METRICS if metric.name != "destroy"})
    found = cases(results(row))
    assert sum("MEASUREMENT" in words for words in found.values()) == len(METRICS)


@pytest.mark.parametrize(
    ("outcome", "result"),
    [
        ("passed", "pass"),
        ("failed", "fail"),
        ("error", "unknown"),
        ("skipped", "skip"),
        ("xfailed", "skip"),
        ("xpassed", "unknown"),
        (CUT_SHORT, "unknown"),
        ("rerun", "unknown"),
    ],
)
def test_a_figure_has_its_tests_result(outcome: str, result: str, a_row: MakeRow) -> None:
    row = a_row(1.0)
    found = cases(results(row, tests={row.setting.test: outcome}))
    assert found["test_destroyed_guest"]["RESULT"] == result
    assert found["destroyed_guest-stock-xl-1024-MiB.destroy"]["RESULT"] == result


def test_a_figure_of_a_test_whose_end_is_not_known_is_no_success(a_row: MakeRow) -> None:
    found = cases(results(a_row(1.0)))
    assert found["destroyed_guest-stock-xl-1024-MiB.destroy"]["RESULT"] == "unknown"


@pytest.mark.parametrize(
    ("run", "result"),
    [
        ({}, "pass"),
        ({"residue": 1, "status": 1}, "fail"),
        ({"residue": 1, "status": 0}, "fail"),
        ({"status": 1}, "fail"),
        ({"status": 75}, "unknown"),
        ({"judged": 0}, "unknown"),
        ({"judged": "many"}, "unknown"),
    ],
)
def test_only_a_clean_run_passes(run: dict[str, object], result: str, a_row: MakeRow) -> None:
    (known,) = results(a_row())
    known.known = CLEAN | run
    assert cases([known])["xenscrub"]["RESULT"] == result


def test_one_of_several_runs_that_leaked_is_enough(a_row: MakeRow) -> None:
    one = results(a_row(1.0, host="lab7"), residue=1, status=1)
    two = results(a_row(1.0, host="lab8"))
    assert cases([*one, *two])["xenscrub"]["RESULT"] == "fail"


def test_a_run_that_was_cut_short_does_not_pass(a_row: MakeRow) -> None:
    cut = RunResults("", {"0": a_row()})
    assert cases([cut])["xenscrub"]["RESULT"] == "unknown"


def test_names_are_safe_and_of_one_thing_each(a_row: MakeRow) -> None:
    """A shell must not run them, and LAVA must not cut them."""
    rows = [
        a_row(1.0, test=HOSTILE),
        a_row(2.0, test="x.py::test_a[b c]"),
        a_row(3.0, test="x.py::test_a[b-c]"),
        a_row(4.0, test="x.py::test_$(touch /tmp/x);`id`'"),
        a_row(5.0, test="x.py::test_" + "long" * 60),
    ]
    found = cases(results(*rows, tests={row.setting.test: "passed" for row in rows}))
    measured = [words["MEASUREMENT"] for name, words in found.items() if "destroy" in name]
    assert sorted(measured) == ["1", "2", "3", "4", "5"]
    assert len(found) == 1 + 5 + len([1 for words in found.values() if "MEASUREMENT" in words])


def test_what_is_not_a_number_is_left_out(a_row: MakeRow) -> None:
    assert "nan" not in to_lava(results(a_row(float("nan"))))
