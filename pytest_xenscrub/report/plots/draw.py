# SPDX-License-Identifier: MIT
"""Which charts a run has data for."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING

from pytest_xenscrub.report.plots import destroy, exposure, frames, sizes
from pytest_xenscrub.report.plots.style import save
from pytest_xenscrub.report.table import test_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from pytest_xenscrub.report.plots.frames import FrameMap
    from pytest_xenscrub.scrub.row import Row

_WIDE = (8.5, 3.8)
_TALL = (7.0, 5.2)
_MAP = (8.5, 4.2)


def draw(rows: Sequence[Row], maps: Mapping[str, FrameMap], folder: Path) -> list[Path]:
    """Write every chart for which there is data, as PNG and SVG.

    Args:
        rows: all rows of a run.
        maps: of memory, by variant.
        folder: where to; files of the same names are replaced.
    """
    paths: list[Path] = []
    tests = _by(rows, test_name)
    exposed = {name: curves for name, group in tests.items() if (curves := _exposed(group))}
    for test, group in exposed.items():
        name = _name("exposure", test, alone=len(exposed) == 1)
        paths += save(folder, name, partial(exposure.paint, rows=group), inches=_WIDE)
    grown = {name: group for name, group in tests.items() if sizes.worth_it(group)}
    for test, group in grown.items():
        name = _name("sizes", test, alone=len(grown) == 1)
        paths += save(folder, name, partial(sizes.paint, rows=group))
    for variant, group in _by(rows, lambda row: row.setting.variant).items():
        watched = [row for row in group if row.series.get("free_bytes") and row.destroy is not None]
        if watched:
            row = max(watched, key=lambda row: (row.exposure_curve is not None, row.memory_bytes))
            paths += save(
                folder, _name("destroy", variant), partial(destroy.paint, row=row), inches=_TALL
            )
    for variant, shown in maps.items():
        paths += save(
            folder, _name("frames", variant), partial(frames.paint, shown=shown), inches=_MAP
        )
    return paths


def _by(rows: Iterable[Row], key: Callable[[Row], str]) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return groups


def _exposed(rows: Iterable[Row]) -> list[Row]:
    """Those with a curve; as in the table, a host's first end counts only where it is alone."""
    curves = _by((row for row in rows if row.exposure_curve), lambda row: row.setting.variant)
    return [
        row
        for group in curves.values()
        for row in [each for each in group if not each.first_after_boot] or group
    ]


def _name(what: str, of: str, *, alone: bool = False) -> str:
    return what if alone else f"{what}-{re.sub(r'[^A-Za-z0-9.]+', '-', of).strip('-')}"
