# SPDX-License-Identifier: MIT
"""Xens side by side: what each destroy took, and how much faster that is than on the first one."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from tabulate import tabulate

from pytest_xenscrub.report.table import count, grouped, spread, test_name, values, worst_verdict
from pytest_xenscrub.scrub.row import METRICS
from pytest_xenscrub.units import MIB

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_xenscrub.scrub.row import Row

_DESTROY, _FREE, _CLEAN = (
    next(metric for metric in METRICS if metric.name == name)
    for name in ("destroy", "free", "clean")
)
_HEADER = ("test", "MiB", "toolstack", "variant", "n", "destroy", "speed-up", "free", "clean",
           "verdict")  # fmt: skip


def render_comparison(rows: Sequence[Row], first: str) -> str:
    """The table; empty if no destroy was measured on more than one Xen.

    Args:
        rows: all rows of a run.
        first: the variant that the others are compared with.

    Returns:
        Lines: times in s, medians with their least and most; speed-up is the first one's median
        destroy ÷ this one's.
    """
    sets: dict[tuple[object, ...], dict[str, list[Row]]] = {}
    for group in grouped(rows):
        row = group[0]
        key = (test_name(row), row.memory_bytes >> 24, row.setting.toolstack, row.how)
        if row.destroy is not None:
            sets.setdefault(key, {}).setdefault(row.setting.variant, []).extend(group)
    lines: list[list[str]] = []
    for variants in sets.values():
        if len(variants) > 1:
            reference = variants.get(first)
            lines += [_line(group, reference) for group in variants.values()]
    if not lines:
        return ""
    align = ["left", "right", "left", "left", *["right"] * 5, "left"]
    return tabulate(lines, headers=_HEADER, disable_numparse=True, colalign=align)


def _line(group: list[Row], reference: list[Row] | None) -> list[str]:
    row = group[0]
    mine, theirs = _median(group), _median(reference or [])
    return [
        test_name(row),
        f"{row.memory_bytes // MIB}",
        row.setting.toolstack,
        row.setting.variant,
        count(group) if len(group) > 1 else f"1{count(group)}",
        spread(values(group, _DESTROY)),
        f"{theirs / mine:.2f}x" if mine and theirs else "",
        spread(values(group, _FREE)),
        spread(values(group, _CLEAN)),
        worst_verdict(group),
    ]


def _median(group: list[Row]) -> float | None:
    known = values(group, _DESTROY)
    return statistics.median(known) if known else None
