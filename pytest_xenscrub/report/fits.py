# SPDX-License-Identifier: MIT
"""Fits of time by memory size, for tests that measured guests of several sizes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tabulate import tabulate

from pytest_xenscrub.report.table import typed_name
from pytest_xenscrub.scrub.fit import fits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pytest_xenscrub.scrub.row import Row

_HEADER = ("test", "toolstack", "variant", "n", "time", "s/GiB", "s at 0 GiB", "R²")


def _without_parameters(row: Row) -> str:
    return typed_name(row).partition("[")[0]


def _grouped(rows: Iterable[Row], name: Callable[[Row], str]) -> list[list[Row]]:
    """The rows of each test and Xen."""
    groups: dict[tuple[object, ...], list[Row]] = {}
    for row in rows:
        s = row.setting
        key = (name(row), s.host, s.toolstack, s.variant, s.xen, s.debug)
        groups.setdefault(key, []).append(row)
    return list(groups.values())


def render_fits(rows: Iterable[Row]) -> str:
    """A line for each time of each test that measured several sizes; empty if none did.

    A test that has a parameter for each size has one line in all.
    """
    by_test = _grouped(rows, typed_name)
    few = [row for group in by_test if not fits(group) for row in group]
    groups = [(typed_name, group) for group in by_test if fits(group)]
    groups += [(_without_parameters, group) for group in _grouped(few, _without_parameters)]
    lines = [
        [
            name(group[0]),
            group[0].setting.toolstack,
            group[0].setting.variant,
            str(fit.guests),
            fit.metric,
            f"{fit.seconds_per_gib:.3f}",
            f"{fit.intercept:.2f}",
            f"{fit.r_squared:.3f}",
        ]
        for name, group in groups
        for fit in fits(group)
    ]
    if not lines:
        return ""
    align = ["left", "left", "left", "right", "left", "right", "right", "right"]
    return tabulate(lines, headers=_HEADER, disable_numparse=True, colalign=align)
