# SPDX-License-Identifier: MIT
"""The table that compares Xens: destroy times, and the speed-up against the first Xen."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from pytest_xenscrub.report.table import (
    MAIN,
    Chosen,
    cell,
    count,
    filled,
    grid,
    grouped,
    spread,
    typed_name,
    values,
    worst_verdict,
)
from pytest_xenscrub.scrub.row import METRICS
from pytest_xenscrub.units import MIB

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_xenscrub.scrub.row import Row

_DESTROY = next(metric for metric in METRICS if metric.name == "destroy")
_ALSO = [
    metric for metric in METRICS
    if metric.name in ("free", "clean", "exposure", "exposed_byte_seconds")
]  # fmt: skip


def render_comparison(rows: Sequence[Row], first: str, chosen: Chosen = MAIN) -> str:
    """The table; empty if no test measured a destroy on several Xens.

    Args:
        rows: all rows of a run.
        first: the variant that the others are compared with.
        chosen: the columns that are shown.

    Returns:
        Lines: times in s, medians with minimum and maximum; speed-up is the median destroy of the
        first variant ÷ this one's.
    """
    return grid(comparison_lines(rows, first), chosen)


def comparison_lines(rows: Sequence[Row], first: str) -> list[dict[str, str]]:
    """The lines of that table, by column."""
    sets: dict[tuple[object, ...], dict[str, list[Row]]] = {}
    for group in grouped(rows):
        row = group[0]
        key = (typed_name(row), row.memory_bytes >> 24, row.setting.toolstack, row.how)
        if row.destroy is not None:
            sets.setdefault(key, {}).setdefault(row.setting.variant, []).extend(group)
    lines: list[dict[str, str]] = []
    for variants in sets.values():
        if len(variants) > 1:
            reference = variants.get(first)
            lines += [_line(group, reference) for group in variants.values()]
    return lines


def _line(group: list[Row], reference: list[Row] | None) -> dict[str, str]:
    row = group[0]
    mine, theirs = _median(group), _median(reference or [])
    return {
        "test": typed_name(row),
        "toolstack": row.setting.toolstack,
        "variant": row.setting.variant,
        "MiB": f"{row.memory_bytes // MIB}",
        "filled": filled(group),
        "n": count(group) if len(group) > 1 else f"1{count(group)}",
        "destroy": spread(values(group, _DESTROY)),
        "speed-up": f"{theirs / mine:.2f}x" if mine and theirs else "",
        **{metric.column: cell(group, metric) for metric in _ALSO},
        "verdict": worst_verdict(group),
    }


def _median(group: list[Row]) -> float | None:
    known = values(group, _DESTROY)
    return statistics.median(known) if known else None
