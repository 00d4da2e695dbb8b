# SPDX-License-Identifier: MIT
"""Prints the tables at the end of a run."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from pytest_xenscrub.report.baseline import render_baseline
from pytest_xenscrub.report.compare import render_comparison
from pytest_xenscrub.report.fits import render_fits
from pytest_xenscrub.report.repeats import NOTE, render_repeats
from pytest_xenscrub.report.table import FIRST, STARVED, UNITS, Chosen, legend, render

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pytest

    from pytest_xenscrub.report.baseline import Comparison
    from pytest_xenscrub.scrub.row import Row

MEDIANS: Final = "medians of this run, and how many times those of the earlier run they are"


def print_summary(
    reporter: pytest.TerminalReporter,
    rows: Sequence[Row],
    *,
    first: str,
    repeated: bool,
    comparison: Comparison | None,
    faults: Sequence[str],
    left_out: Sequence[str],
    profile: str,
    columns: tuple[str, ...],
) -> None:
    """Print what was measured: with -q without titles, with -qq only why the run fails.

    Args:
        reporter: pytest's.
        rows: all rows of the run.
        first: the variant that the others are compared with.
        repeated: whether measurements were to be repeated.
        comparison: the comparison with an earlier run, if one was asked for.
        faults: why the run fails, a line each.
        left_out: what limits left out, a line each.
        profile: CPU profiles, if they were asked for.
        columns: the tables' columns, if the user chose some; -v has all.
    """
    verbosity = reporter.config.option.verbose
    section = partial(_print_section, reporter)
    hosts = sorted({describe(row) for row in rows})
    marks = [FIRST] if any(row.first_after_boot for row in rows) else []
    marks += [STARVED] if any(row.too_starved for row in rows) else []
    units = legend() if verbosity > 0 else [UNITS]
    chosen = Chosen(columns, every=verbosity > 0 and not columns)
    notes = [*hosts, _guests(rows), *units, *marks]
    section("memory of destroyed guests", notes, render(rows, chosen))
    if repeated:
        section("repeats", [NOTE], render_repeats(rows))
    section("how it grows with memory", [], render_fits(rows))
    section(f"compared with {first}", [], render_comparison(rows, first, chosen))
    section("CPU profile of destroys", [], profile)
    if comparison is not None:
        refused = [f"not compared: {line}" for line in comparison.mismatches]
        notes = list(then_and_now(comparison))
        notes += [MEDIANS] if notes else []
        body = "\n".join([*refused, render_baseline(comparison, chosen)]).strip()
        section("compared with an earlier run", notes, body)
    _print_faults(reporter, faults, left_out)


def _print_section(
    reporter: pytest.TerminalReporter, title: str, notes: Sequence[str], body: str
) -> None:
    """Print a table, with -q without title and notes; nothing with -qq or for an empty table."""
    verbosity = reporter.config.option.verbose
    if verbosity < -1 or not body:
        return
    if verbosity >= 0:
        reporter.section(title)
        for line in notes:
            reporter.write_line(line)
    reporter.write_line(body)


def _print_faults(
    reporter: pytest.TerminalReporter, faults: Sequence[str], left_out: Sequence[str]
) -> None:
    """Print why the run fails, and what limits left out."""
    verbosity = reporter.config.option.verbose
    if left_out and not faults and verbosity >= 0:
        reporter.section("--xen-fail-if: not held against this run")
    if faults:
        reporter.section("--xen-fail-if: failed", red=True)
    if faults or verbosity >= 0:
        for line in (*faults, *left_out):
            reporter.write_line(line)


def then_and_now(comparison: Comparison) -> Iterator[str]:
    """Describe the compared runs, a line for each host and Xen; empty without a comparison."""
    pairs = {(_of_when(pair.then[0]), _of_when(pair.now[0])) for pair in comparison.pairs}
    for then, now in sorted(pairs):
        yield f"then: {then}"
        yield f"now:  {now}"


def _of_when(row: Row) -> str:
    s = row.setting
    return f"{describe(row)}, {s.toolstack} {s.toolstack_version}, {s.started or 'no date'}"


def _guests(rows: Sequence[Row]) -> str:
    types = sorted({row.setting.guest_type.upper() for row in rows})
    toolstacks = sorted({row.setting.toolstack for row in rows})
    return f"{' and '.join(types)} guests, by {' and '.join(toolstacks)}"


def describe(row: Row) -> str:
    """Describe the host and Xen of a row."""
    s = row.setting
    files = len(s.not_in_use.split())
    partly = f", without {files} of the files that {s.variant} changes" if files else ""
    return (
        f"{s.host}: {s.kind}, Xen {s.xen} debug={'y' if s.debug else 'n'} ({s.variant}),"
        f" build id {s.build_id[:12] or 'none'}{partly}"
    )
