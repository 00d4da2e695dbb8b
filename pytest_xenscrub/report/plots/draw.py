# SPDX-License-Identifier: MIT
"""Draws the charts that a run has data for."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING

from pytest_xenscrub.report.plots import destroy, exposure, frames, sizes
from pytest_xenscrub.report.plots.style import KINDS, apart, save
from pytest_xenscrub.report.table import test_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from pytest_xenscrub.report.frame_map import FrameMap
    from pytest_xenscrub.scrub.row import Row

_WIDE = (8.5, 3.8)
_TALL = (7.0, 5.2)
_MAP = (8.5, 4.2)


def draw(
    rows: Sequence[Row],
    maps: Mapping[str, FrameMap],
    folder: Path,
    *,
    kinds: Iterable[str] = KINDS,
    most: int | None = None,
) -> list[Path]:
    """Write every chart that has data.

    Args:
        rows: all rows of a run.
        maps: maps of memory, by variant.
        folder: the folder; files of the same names are replaced.
        kinds: kinds of files: PNG and SVG.
        most: largest number of charts of one kind; draws those with most Xens and rows. None for
            all.
    """
    write = partial(save, folder, kinds=kinds)
    paths: list[Path] = []
    tests = _by(rows, test_name)
    exposed = {name: curves for name, group in tests.items() if (curves := _exposed(group))}
    for test, group in _fullest(exposed, most).items():
        name = _name("exposure", test, alone=len(exposed) == 1)
        paths += write(name, partial(exposure.paint, rows=group), inches=_WIDE)
    grown = {name: group for name, group in tests.items() if sizes.worth_it(group)}
    for test, group in _fullest(grown, most).items():
        name = _name("sizes", test, alone=len(grown) == 1)
        paths += write(name, partial(sizes.paint, rows=group))
    for variant, shown in list(maps.items())[:most]:
        paths += write(_name("frames", variant), partial(frames.paint, shown=shown), inches=_MAP)
    variants = _by(filter(_watched, rows), lambda row: row.setting.variant)
    for variant, group in list(variants.items())[:most]:
        row = max(group, key=lambda row: (row.exposure_curve is not None, row.memory_bytes))
        paths += write(_name("destroy", variant), partial(destroy.paint, row=row), inches=_TALL)
    return paths


def _watched(row: Row) -> bool:
    """Whether the course of a destroy can be drawn."""
    return bool(row.series.get("free_bytes")) and row.destroy is not None


def _fullest(groups: dict[str, list[Row]], most: int | None) -> dict[str, list[Row]]:
    """The groups of rows with most data, in their order."""
    if most is None or len(groups) <= most:
        return groups

    def full(name: str) -> tuple[int, int]:
        return len({row.setting.variant for row in groups[name]}), len(groups[name])

    chosen = sorted(groups, key=full, reverse=True)[:most]
    return {name: group for name, group in groups.items() if name in chosen}


def _by(rows: Iterable[Row], key: Callable[[Row], str]) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return groups


def _exposed(rows: Iterable[Row]) -> list[Row]:
    """Rows with a curve; as in the table, a host's first measurement counts only if it is alone."""
    curves = apart(row for row in rows if row.exposure_curve)
    return [
        row
        for group in curves.values()
        for row in [each for each in group if not each.first_after_boot] or group
    ]


def _name(what: str, of: str, *, alone: bool = False) -> str:
    return what if alone else f"{what}-{re.sub(r'[^A-Za-z0-9.]+', '-', of).strip('-')}"
