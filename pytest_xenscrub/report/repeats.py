# SPDX-License-Identifier: MIT
"""The table of `--xen-repeat`: statistics of each measurement's repeats."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tabulate import tabulate

from pytest_xenscrub.report.statistics import summarize
from pytest_xenscrub.report.table import COLUMNS, grouped, typed_name, values
from pytest_xenscrub.units import MIB

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_xenscrub.scrub.row import Metric, Row

NOTE = (
    "95 % interval: with 6 repeats or more that of the median, by order statistics;"
    " with fewer that of the mean, by Student's t, marked (t)"
)
_HEADER = ("test", "MiB", "toolstack", "variant", "metric", "unit", "n", "median", "min", "max",
           "95 % interval")  # fmt: skip
_ALIGN = ("left", "right", "left", "left", "left", "left", *["right"] * 5)


def render_repeats(rows: Sequence[Row]) -> str:
    """A line for each metric that was measured more than once; empty if none was."""
    lines = [
        _line(group[0], metric, known)
        for group in grouped(rows)
        for metric in COLUMNS
        if len(known := values(group, metric)) > 1
    ]
    return tabulate(lines, headers=_HEADER, disable_numparse=True, colalign=_ALIGN) if lines else ""


def _line(row: Row, metric: Metric, known: list[float]) -> list[str]:
    summary, show = summarize(known), metric.unit.show
    low, high = summary.interval or (summary.least, summary.most)
    return [
        typed_name(row),
        f"{row.memory_bytes // MIB}",
        row.setting.toolstack,
        row.setting.variant,
        metric.column,
        metric.unit.name,
        f"{summary.count}",
        show(summary.median),
        show(summary.least),
        show(summary.most),
        f"{show(low)} to {show(high)}" + (" (t)" if summary.of == "mean" else ""),
    ]
