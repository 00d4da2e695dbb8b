# SPDX-License-Identifier: MIT
"""Results for people to read elsewhere than in the terminal: a merge request, a mail."""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING, Final

from pytest_xenscrub.report.again import again
from pytest_xenscrub.report.compare import render_comparison
from pytest_xenscrub.report.judged import Proof
from pytest_xenscrub.report.outcome import failures
from pytest_xenscrub.report.results import last_rows, last_tests
from pytest_xenscrub.report.summary import describe
from pytest_xenscrub.report.table import MAIN, Chosen, lines_of, marks, render
from pytest_xenscrub.scrub.row import METRICS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_xenscrub.report.outcome import Outcome
    from pytest_xenscrub.report.results import RunResults
    from pytest_xenscrub.scrub.row import Row

_MAIL: Final = 80
_FAILED: Final = ("failed", "error")
_MOST_FAILURES: Final = 20
"""Largest number of failures that are told."""
_MAIL_COLUMNS: Final = Chosen(
    ("variant", "destroy", "speed-up", "exposure", "verdict"), width=_MAIL, medians=True
)


def shown_runs(runs: Sequence[RunResults]) -> list[RunResults]:
    """The last run, and those earlier runs that have rows in the report."""
    shown = {id(row) for row in last_rows(runs)}
    return [
        run for run in runs if run is runs[-1] or any(id(row) in shown for row in run.rows.values())
    ]


def headline(runs: Sequence[RunResults]) -> list[str]:
    """The most important facts, a line for each run: whether anything leaked, and what was judged.

    Leaves out earlier runs of which nothing is shown.
    """
    return [_told(run) for run in shown_runs(runs)]


def _told(run: RunResults) -> str:
    if run.known is None:
        return f"{_leaks(run)}UNFINISHED: this run was cut short, or goes on ({_date(run)})"
    try:
        proof = Proof.of(run.known)
        status = int(str(run.known["status"]))
        told = str(proof)
    except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError):
        return f"{_leaks(run)}UNKNOWN: what this run came to cannot be read ({_date(run)})"
    if proof.residue:
        state = "RESIDUE"
    elif not proof.judged:
        state = "NOTHING JUDGED"
    else:
        state = "NOT CLEAN" if status else "clean"
    return f"{state}: {told} (exit status {status}, {_date(run)})"


def _leaks(run: RunResults) -> str:
    """Of a run that does not say itself what it came to."""
    found = sum(test.residue and test.outcome in _FAILED for test in run.tests.values())
    return f"RESIDUE in {found} tests; " if found else ""


def _date(run: RunResults) -> str:
    return run.started or "no date"


def faults(runs: Sequence[RunResults]) -> list[str]:
    """Why the last run failed even if all its tests passed: what `--xen-fail-if` told of it."""
    found = (runs[-1].known or {}).get("faults")
    return [str(each) for each in found] if isinstance(found, list) else []


def _failed(runs: Sequence[RunResults]) -> tuple[list[Outcome], list[str]]:
    """Tests that failed, leaks first; and lines about those that are too many, and of the gate."""
    found = failures(last_tests(shown_runs(runs)))
    more = len(found) - _MOST_FAILURES
    told = [f"{more} more failures are in the results"] if more > 0 else []
    return found[:_MOST_FAILURES], [*told, *(f"--xen-fail-if: {each}" for each in faults(runs))]


def _why(test: Outcome) -> str:
    """The test's name, and the first line of its message."""
    first = next(iter(test.why.splitlines()), "")
    return f"{test.test}: {first}" if first else test.test


def _hosts(rows: Sequence[Row]) -> list[str]:
    return sorted({describe(row) for row in rows})


def first_variant(rows: Sequence[Row]) -> str:
    """The variant that others are compared with: the first one that is not the control."""
    variants = [row.setting.variant for row in rows if "control" not in row.setting.test]
    return next(iter(variants), "")


def to_text(runs: Sequence[RunResults]) -> str:
    """The tables as at the end of a run."""
    rows = last_rows(runs)
    parts = ["\n".join(headline(runs))]
    failed, more = _failed(runs)
    told = [f"{test.state} {_why(test)}\n  again: {again(test, rows, runs)}" for test in failed]
    parts += ["\n".join([*told, *more])] if told or more else []
    if rows:
        first = first_variant(rows)
        parts += ["\n".join([*_hosts(rows), *marks(rows)]), render(rows)]
        comparison = render_comparison(rows, first)
        parts += [f"compared with {first}:\n{comparison}"] if comparison else []
    return "\n\n".join(parts) + "\n"


def to_markdown(runs: Sequence[RunResults]) -> str:
    """For a merge request, or `$GITHUB_STEP_SUMMARY`."""
    rows = last_rows(runs)
    parts = ["\n".join(f"**{_escaped(line)}**  " for line in headline(runs))]
    failed, more = _failed(runs)
    told = [
        f"- **{test.state}** {_escaped(_why(test))}  \n  again: {_code(again(test, rows, runs))}"
        for test in failed
    ]
    told += [f"- {_escaped(line)}" for line in more]
    parts += ["\n".join(told)] if told else []
    if rows:
        shown, lines = lines_of(rows, MAIN)
        figures = {metric.column for metric in METRICS} | {"MiB", "filled", "n"}
        table = [
            "| " + " | ".join(shown) + " |",
            "| " + " | ".join("---:" if key in figures else "---" for key in shown) + " |",
            *("| " + " | ".join(_cell(line[key]) for key in shown) + " |" for line in lines),
        ]
        hosts = [f"- {_escaped(line)}" for line in _hosts(rows)]
        parts += ["\n".join(hosts), "\n".join(table), "  \n".join(map(_escaped, marks(rows)))]
    return "\n\n".join(parts) + "\n"


def _cell(text: str) -> str:
    shown = _escaped(text)
    return f"**{shown}**" if text in ("RESIDUE", "UNPROVEN") else shown


def _code(text: str) -> str:
    """A command to copy; one that would end its own markup is told as text."""
    line = " ".join(text.split())
    return _escaped(line) if "`" in line else f"`{line}`"


def _escaped(text: str) -> str:
    """Escape names of tests, files and hosts, so that they are not taken for markup."""
    return re.sub(r"([\\`*_\[\]<>|~])", r"\\\1", " ".join(text.split()))


def to_mail(runs: Sequence[RunResults]) -> str:
    """Plain text of 80 columns, to be quoted on a mailing list."""
    rows = last_rows(runs)
    failed, more = _failed(runs)
    told = [f"{test.state} {_why(test)}" for test in failed]
    notes = [*headline(runs), *told, *more, "", *_hosts(rows), "medians, times in s"]
    wrapped = [
        each
        for note in notes
        for each in textwrap.wrap(note, _MAIL, subsequent_indent="  ") or [""]
    ]
    body = render_comparison(rows, first_variant(rows), _MAIL_COLUMNS) or render(
        rows, _MAIL_COLUMNS
    )
    return "\n".join([*wrapped, "", body, ""])
