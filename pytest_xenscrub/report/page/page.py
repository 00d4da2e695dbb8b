# SPDX-License-Identifier: MIT
"""The page, in the order in which a reader asks; `page.html` is its form."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import jinja2

from pytest_xenscrub import __version__
from pytest_xenscrub.report.compare import comparison_lines
from pytest_xenscrub.report.export.prose import first_variant, headline
from pytest_xenscrub.report.history import history
from pytest_xenscrub.report.page.charts import charts, line_of
from pytest_xenscrub.report.results import last_rows
from pytest_xenscrub.report.summary import describe
from pytest_xenscrub.report.table import MAIN, Chosen, legend, lines_of
from pytest_xenscrub.scrub.row import METRICS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_xenscrub.report.outcome import Outcome
    from pytest_xenscrub.report.results import RunResults
    from pytest_xenscrub.scrub.row import Row

_FOLDER: Final = Path(__file__).parent
_ALL: Final = Chosen(every=True)
_SHOWN_SERIES: Final = 40
_ORDER: Final = ("failed", "error", "xpassed")
_FIGURES: Final = frozenset(
    {metric.column for metric in METRICS} | {"MiB", "filled", "n", "speed-up"}
)
_MACHINE: Final = (
    ("host", "host"), ("kind", "kind"), ("emulated_on", "emulated on"), ("cpu_model", "CPU model"),
    ("cpus", "CPUs"), ("total_bytes", "memory, bytes"), ("xen", "Xen"), ("build_id", "build id"),
    ("debug", "debug build"), ("config", "Kconfig"), ("command_line", "boot options"),
    ("toolstack_version", "toolstack"), ("version", "pytest-xenscrub"), ("started", "started"),
)  # fmt: skip


def to_html(runs: Sequence[RunResults]) -> str:
    """One page of at least one run; the last one of each measurement is shown, all in history.

    All that tests, guests, hosts and files say is escaped.
    """
    # What is told comes from guests and files: nothing of it may be markup.
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    rows = last_rows(runs)
    tests = {test.test: test for run in runs for test in run.tests.values()}.values()
    return environment.get_template("page.html").render(
        version=__version__,
        style=(_FOLDER / "style.css").read_text(encoding="utf-8"),
        script=(_FOLDER / "sort.js").read_text(encoding="utf-8"),
        headline=headline(runs),
        failures=sorted(
            (test for test in tests if test.outcome in _ORDER or test.residue),
            key=lambda test: (not test.residue, _ORDER.index(test.outcome)
                              if test.outcome in _ORDER else len(_ORDER)),
        ),
        repeat=lambda test: _repeat(test, rows),
        not_judged=[test for test in tests if test.outcome in ("skipped", "xfailed")],
        hosts=sorted({describe(row) for row in rows}),
        figures=_FIGURES,
        tables=_tables(rows),
        legend=legend(),
        charts=charts(rows),
        history=[(series, line_of(series)) for series in history(runs)[:_SHOWN_SERIES]],
        machines=_machines(rows),
    )  # fmt: skip


@dataclass(frozen=True)
class _Table:
    """A table of the page.

    Attributes:
        title: its heading.
        columns: those that are shown, the verdict behind the test's name.
        lines: their cells.
        folded: whether the reader has to open it.
    """

    title: str
    columns: list[str]
    lines: list[dict[str, str]]
    folded: bool = False


def _tables(rows: Sequence[Row]) -> list[_Table]:
    if not rows:
        return []
    shown, lines = lines_of(rows, MAIN)
    tables = [_Table("What was measured", _verdict_first(shown), lines)]
    first = first_variant(rows)
    if compared := comparison_lines(rows, first):
        columns = _verdict_first(MAIN.of(compared))
        tables.append(_Table(f"Compared with {first}", columns, compared))
    everything = _verdict_first(_ALL.of(lines))
    return [*tables, _Table("All figures", everything, lines, folded=True)]


def _verdict_first(columns: list[str]) -> list[str]:
    """A narrow window shows the first ones alone."""
    return ["test", "verdict", *(key for key in columns if key not in ("test", "verdict"))]


def _repeat(test: Outcome, rows: Sequence[Row]) -> str:
    """The command that runs a test again."""
    settings = [row.setting for row in rows if row.setting.test == test.test]
    if not settings:
        return f"pytest '{test.test}' --xen-host=HOST"
    one = settings[-1]
    return (
        f"pytest '{one.test}' --xen-host={one.host} --xen-toolstack={one.toolstack}"
        f" --xen-variant={one.variant} --xen-guest-type={one.guest_type}"
    )


def _machines(rows: Sequence[Row]) -> list[list[tuple[str, str]]]:
    """What is known of each machine and Xen."""
    known = {
        tuple((label, str(getattr(row.setting, field))) for field, label in _MACHINE)
        for row in rows
    }
    return [[each for each in one if each[1]] for one in sorted(known)]
