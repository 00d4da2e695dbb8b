# SPDX-License-Identifier: MIT
"""How a time grows with a guest's memory: the straight line through what was measured."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_xenscrub.units import GIB

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_xenscrub.scrub.row import Row

LEAST_SIZES = 4
"""Through two sizes there is always a line, and through three nearly one: neither says anything."""
FITTED = ("destroy", "clean")


@dataclass(frozen=True)
class Fit:
    """Least squares of a time against memory: seconds = intercept + slope x GiB.

    Attributes:
        metric: which time, as `Row` has it.
        seconds_per_gib: the slope.
        intercept: what a guest of no memory would take, s.
        r_squared: share of the times' variance that the line explains, 0 to 1.
        guests: how many were measured.
    """

    metric: str
    seconds_per_gib: float
    intercept: float
    r_squared: float
    guests: int


def fits(rows: Sequence[Row]) -> list[Fit]:
    """The lines of `FITTED` through rows of one kind; none for what has too few sizes."""
    found = []
    for metric in FITTED:
        points = [
            (row.memory_bytes / GIB, seconds)
            for row in rows
            if (seconds := getattr(row, metric)) is not None
        ]
        if len({size for size, _ in points}) >= LEAST_SIZES:
            found.append(_line(metric, points))
    return found


def _line(metric: str, points: list[tuple[float, float]]) -> Fit:
    sizes, times = zip(*points, strict=True)
    slope, intercept = statistics.linear_regression(sizes, times)
    # A time that is the same for all sizes has no correlation, and is a perfect line.
    r = statistics.correlation(sizes, times) if len(set(times)) > 1 else 1.0
    return Fit(metric, slope, intercept, r * r, len(points))
