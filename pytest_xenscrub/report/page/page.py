# SPDX-License-Identifier: MIT
"""Makes the page; `page.html` is its template."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import jinja2

from pytest_xenscrub import __version__
from pytest_xenscrub.report.again import again
from pytest_xenscrub.report.baseline import compare_runs
from pytest_xenscrub.report.changes import changes
from pytest_xenscrub.report.export.prose import faults, headline, shown_runs
from pytest_xenscrub.report.history import history
from pytest_xenscrub.report.outcome import CUT_SHORT, failures
from pytest_xenscrub.report.page.charts import charts, line_of
from pytest_xenscrub.report.page.tables import FIGURES, machines, tables
from pytest_xenscrub.report.results import RunResults, last_rows, last_tests
from pytest_xenscrub.report.summary import describe, then_and_now
from pytest_xenscrub.report.table import legend, marks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

    from pytest_xenscrub.report.baseline import Comparison
    from pytest_xenscrub.report.frame_map import FrameMap

LIMIT: Final = 1_000_000
"""Largest size of a page, bytes."""
_FOLDER: Final = Path(__file__).parent
_LOOKED: Final = 50
"""Largest number of runs among which one to compare with is searched."""
_UNJUDGED: Final = ("skipped", "xfailed", CUT_SHORT)


@dataclass(frozen=True)
class Extras:
    """What the page shows besides results.

    Attributes:
        earlier: runs that are shown only in the history.
        comparison: the comparison with an earlier run; by default with the run before the last one.
        faults: why the run fails even if its tests passed.
        notes: what limits left out, and why.
        logs: gives the existing logs of a test or host: their names, and links to them.
    """

    earlier: Sequence[RunResults] = ()
    comparison: Comparison | None = None
    faults: Sequence[str] = ()
    notes: Sequence[str] = ()
    logs: Callable[[str], Sequence[tuple[str, str]]] = field(default=lambda _: ())


_NOTHING: Final = Extras()


@dataclass(frozen=True)
class _Size:
    """How much of long content is shown, because a page is opened in a browser, and sent by mail.

    Attributes:
        tests: number of tests that failed, or were not judged.
        characters: length of each failure's message.
        lines: number of lines of each table.
        first: number of lines of the comparison with an earlier run that are not folded; includes
            everything that is proven worse.
        everything: whether there is a table of all figures.
        charts: whether charts include maps of a host's memory.
        series: number of series in the history, without those that never change.
    """

    tests: int
    characters: int
    lines: int
    first: int
    everything: bool
    charts: int
    series: int


_SIZES: Final = (
    _Size(200, 8000, 1000, 10, everything=True, charts=12, series=40),
    _Size(100, 2000, 400, 10, everything=False, charts=9, series=40),
    _Size(50, 1000, 150, 10, everything=False, charts=4, series=20),
    _Size(20, 500, 50, 10, everything=False, charts=0, series=5),
)
"""Sizes to try; the first one that makes the page small enough is used."""


def to_html(runs: Sequence[RunResults], extras: Extras = _NOTHING) -> str:
    """One page of at least one run; shows the last row of each measurement, and all in the history.

    Escapes all output of tests, guests, hosts and files.
    """
    # Texts come from guests and files, and must not be taken for markup.
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    form = environment.get_template("page.html")
    known = _content(runs, extras)
    page = ""
    for size in _SIZES:
        page = form.render(**known, size=size, tables=tables(known["rows"], all_of=size.everything))
        if len(page.encode(errors="replace")) < LIMIT:
            break
    return page


def _content(runs: Sequence[RunResults], extras: Extras) -> dict[str, Any]:
    """The data for the template."""
    rows = last_rows(runs)
    shown = shown_runs(runs)
    tests = last_tests(shown)
    said = headline(runs)
    comparison = extras.comparison or _with_run_before([*extras.earlier, *runs])
    series = history([*extras.earlier, *runs])
    return {
        "version": __version__,
        "style": (_FOLDER / "style.css").read_text(encoding="utf-8"),
        "script": (_FOLDER / "sort.js").read_text(encoding="utf-8"),
        "headline": said,
        # One leak among several runs is what the reader of a tab must see.
        "title": next((line for line in reversed(said) if not line.startswith("clean")), said[-1]),
        "failures": failures(tests),
        "not_judged": [
            test for test in tests if test.outcome in _UNJUDGED and not test.residue
        ],
        "repeat": lambda test: again(test, rows, runs),
        "logs": extras.logs,
        "comparison": comparison,
        "then_and_now": [] if comparison is None else list(then_and_now(comparison)),
        "changes": [] if comparison is None else changes(comparison),
        "faults": extras.faults or faults(runs),
        "notes": extras.notes,
        "rows": rows,
        "hosts": sorted({describe(row) for row in rows}),
        "host_names": sorted({row.setting.host for row in rows}),
        "figures": FIGURES,
        "marks": marks(rows),
        "legend": legend(),
        "charts": charts(rows, _maps(shown)),
        "history": [(each, line_of(each)) for each in series if not each.constant],
        "constant": [each for each in series if each.constant],
        "machines": machines(rows),
        "commands": _commands(runs),
    }  # fmt: skip


def _maps(runs: Iterable[RunResults]) -> dict[str, FrameMap]:
    """Of each variant the last map, or the last one that is not clean."""
    found: dict[str, FrameMap] = {}
    for run in runs:
        for variant, shown in run.maps.items():
            if variant not in found or shown.state != "clean" or found[variant].state == "clean":
                found[variant] = shown
    return found


def _with_run_before(runs: Sequence[RunResults]) -> Comparison | None:
    """Compare the last run with the latest earlier one that measured the same; None without one.

    If no run measured the same, the comparison with the run before says what is not compared.
    """
    *before, now = [run for run in runs if run.rows] or [RunResults("")]
    found = [compare_runs(run.rows.values(), now.rows.values()) for run in before[:-_LOOKED:-1]]
    return next((each for each in found if each.pairs), found[0] if found else None)


def _commands(runs: Iterable[RunResults]) -> list[str]:
    """The commands of the runs, each once."""
    told = [str(run.known["command"]) for run in runs if run.known and "command" in run.known]
    return list(dict.fromkeys(told))
