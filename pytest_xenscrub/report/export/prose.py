# SPDX-License-Identifier: MIT
"""Results as people read them elsewhere than in the terminal: a merge request, a mail."""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING, Final

from pytest_xenscrub.report.compare import render_comparison
from pytest_xenscrub.report.judged import Proof
from pytest_xenscrub.report.summary import describe
from pytest_xenscrub.report.table import MAIN, UNITS, Chosen, lines_of, render
from pytest_xenscrub.scrub.row import METRICS

if TYPE_CHECKING:
    from pytest_xenscrub.report.results import Results

_MAIL: Final = 80
_MAIL_COLUMNS: Final = Chosen(
    ("variant", "destroy", "speed-up", "exposure", "verdict"), width=_MAIL, medians=True
)


def headline(results: Results) -> list[str]:
    """What a reader asks first, a line for each run: was anything leaked, what was judged."""
    lines = [_told(run) for run in results.runs]
    if results.unfinished:
        lines.append("UNFINISHED: a run was cut short after these results")
    return lines


def _told(run: dict[str, object]) -> str:
    try:
        proof = Proof.of(run)
        status = int(str(run["status"]))
    except (KeyError, TypeError, ValueError):
        return "UNKNOWN: what this run came to cannot be read"
    state = "RESIDUE" if proof.residue else "clean" if not status and proof.judged else "NOT CLEAN"
    if state == "NOT CLEAN" and not proof.judged:
        state = "NOTHING JUDGED"
    return f"{state}: {proof} (exit status {status}, {run.get('started', 'no date')})"


def _hosts(results: Results) -> list[str]:
    return sorted({describe(row) for row in results.rows})


def _first(results: Results) -> str:
    """The variant that the others are compared with: the first that is no control."""
    variants = [row.setting.variant for row in results.rows if "control" not in row.setting.test]
    return next(iter(variants), "")


def to_text(results: Results) -> str:
    """As at the end of a run."""
    parts = ["\n".join(headline(results))]
    if results.rows:
        first = _first(results)
        parts += ["\n".join([*_hosts(results), UNITS]), render(results.rows)]
        comparison = render_comparison(results.rows, first)
        parts += [f"compared with {first}:\n{comparison}"] if comparison else []
    return "\n\n".join(parts) + "\n"


def to_markdown(results: Results) -> str:
    """For a merge request, or `$GITHUB_STEP_SUMMARY`."""
    parts = ["\n".join(f"**{_escaped(line)}**  " for line in headline(results))]
    if results.rows:
        shown, lines = lines_of(results.rows, MAIN)
        figures = {metric.column for metric in METRICS} | {"MiB", "n"}
        table = [
            "| " + " | ".join(shown) + " |",
            "| " + " | ".join("---:" if key in figures else "---" for key in shown) + " |",
            *("| " + " | ".join(_cell(line[key]) for key in shown) + " |" for line in lines),
        ]
        hosts = [f"- {_escaped(line)}" for line in _hosts(results)]
        parts += ["\n".join(hosts), "\n".join(table), UNITS]
    return "\n\n".join(parts) + "\n"


def _cell(text: str) -> str:
    shown = _escaped(text)
    return f"**{shown}**" if text in ("RESIDUE", "UNPROVEN") else shown


def _escaped(text: str) -> str:
    """What a test, a file or a host calls itself is no markup."""
    return re.sub(r"([\\`*_\[\]<>|~])", r"\\\1", " ".join(text.split()))


def to_mail(results: Results) -> str:
    """Plain text of 80 columns, to be quoted on a mailing list."""
    rows = results.rows
    notes = [*headline(results), "", *_hosts(results), "medians, times in s"]
    wrapped = [
        each
        for note in notes
        for each in textwrap.wrap(note, _MAIL, subsequent_indent="  ") or [""]
    ]
    body = render_comparison(rows, _first(results), _MAIL_COLUMNS) or render(rows, _MAIL_COLUMNS)
    return "\n".join([*wrapped, "", body, ""])
