# SPDX-License-Identifier: MIT
"""Adds this plugin's figures to the report of pytest-html; does not need pytest-html itself."""

from __future__ import annotations

import base64
import importlib.util
import tempfile
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_xenscrub.report.results import rows_of
from pytest_xenscrub.scrub.row import METRICS

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from pytest_xenscrub.scrub.row import Row

_SHOWN = [metric for metric in METRICS if metric.name in ("destroy", "exposure")]
_BEHIND = 2
"""Place of the new columns, behind pytest-html's own result and test."""


class PytestHtml:
    """Columns for a test's verdict, destroy and exposure, its curve, and what the run has proven.

    Args:
        config: pytest's.
        proven: gives what the run has proven, at its end.
    """

    def __init__(self, config: pytest.Config, proven: Callable[[], str]) -> None:
        self._proven = proven
        self._writes = bool(getattr(config.option, "htmlpath", None))
        self._rows: dict[str, list[Row]] = {}
        self._draws = self._writes and importlib.util.find_spec("matplotlib") is not None

    @pytest.hookimpl(optionalhook=True)
    def pytest_html_results_table_header(self, cells: list[str]) -> None:
        """Add the headings, by which the report can be sorted."""
        names = [("verdict", "Verdict")]
        names += [(each.name, f"{each.column}, {each.unit.name}") for each in _SHOWN]
        cells[_BEHIND:_BEHIND] = [
            f'<th class="sortable" data-column-type="{name}">{escape(shown)}</th>'
            for name, shown in names
        ]

    @pytest.hookimpl(optionalhook=True)
    def pytest_html_results_table_row(self, report: pytest.TestReport, cells: list[str]) -> None:
        """Add a test's cells, which are empty if it measured nothing."""
        if not cells:
            return  # a conftest has taken the line out
        rows = self._rows.get(report.nodeid, [])
        told = [("verdict", _verdict(rows))]
        told += [(each.name, _cell(rows, each.name)) for each in _SHOWN]
        cells[_BEHIND:_BEHIND] = [
            f'<td class="col-{name}">{escape(text)}</td>' for name, text in told
        ]

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note the report of a phase: the last has all rows, but the line is of an earlier one."""
        if self._writes:
            self._rows[report.nodeid] = rows_of(report.nodeid, report.user_properties)

    @pytest.hookimpl(optionalhook=True)
    def pytest_html_results_summary(self, prefix: list[str]) -> None:
        """Add what the run has proven, above the table."""
        prefix.append(f"<p>{escape(self._proven())}</p>")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Add a test's curve to its last report, also for tests in other processes."""
        report = yield
        if self._draws and report.when == "teardown":
            rows = rows_of(report.nodeid, report.user_properties)
            vars(report).setdefault("extras", []).extend(_curve(rows))
        return report


def _verdict(rows: list[Row]) -> str:
    from pytest_xenscrub.report.table import worst_verdict  # noqa: PLC0415 - only if there are any

    return worst_verdict(rows) if rows else ""


def _cell(rows: list[Row], name: str) -> str:
    from pytest_xenscrub.report.table import cell  # noqa: PLC0415 - as above

    return cell(rows, next(metric for metric in METRICS if metric.name == name))


def _curve(rows: list[Row]) -> list[dict[str, Any]]:
    """The chart of a test's exposure, for pytest-html; None without a curve."""
    if not any(row.exposure_curve for row in rows):
        return []
    from pytest_xenscrub.report.plots import draw  # noqa: PLC0415 - an extra

    with tempfile.TemporaryDirectory(prefix="xenscrub-") as folder:
        (path,) = draw(rows, {}, Path(folder), kinds=["svg"])
        content = base64.b64encode(path.read_bytes()).decode("ascii")
    return [{
        "name": "how long bytes stay in RAM", "format_type": "image", "content": content,
        "mime_type": "image/svg+xml", "extension": "svg",
    }]  # fmt: skip
