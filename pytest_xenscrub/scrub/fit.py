# SPDX-License-Identifier: MIT
"""Fits a straight line through times against guests' memory."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_xenscrub.units import GIB

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_xenscrub.scrub.row import Row

LEAST_SIZES = 4
"""Least number of sizes for a fit: two sizes always lie on a line, and three nearly do."""
FITTED = ("destroy", "clean")


@dataclass(frozen=True)
class Fit:
    """Least squares of a time against memory: seconds = intercept + slope x GiB.

    Attributes:
        metric: which time, as a field of `Row`.
        seconds_per_gib: the slope.
        intercept: time for a guest without memory, by the line, s.
        r_squared: share of the times' variance that the line explains, 0 to 1.
        guests: number of guests that were measured.
    """

    metric: str
    seconds_per_gib: float
    intercept: float
    r_squared: float
    guests: int


def fits(rows: Sequence[Row]) -> list[Fit]:
    """Fit lines for the times in `FITTED`; leaves out times with fewer than `LEAST_SIZES` sizes."""
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
    # The correlation of times that are all the same is undefined, but they fit a line perfectly.
    r = statistics.correlation(sizes, times) if len(set(times)) > 1 else 1.0
    return Fit(metric, slope, intercept, r * r, len(points))
