# SPDX-License-Identifier: MIT
"""What several measurements of the same say together.

The interval is of 95 % confidence. From six repeats on it is the median's, from the order of the
values alone (exact, whatever their distribution): the narrowest pair of the k-th least and the k-th
most that holds the median with at least that probability. Fewer values have no such pair; for those
it is the mean's, by Student's t, which takes them as normally distributed.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

CONFIDENCE = 0.95
_STUDENT_T = (12.706, 4.303, 3.182, 2.776)
"""The 97.5 % quantile of Student's t for 1, 2, 3 and 4 degrees of freedom."""


@dataclass(frozen=True)
class Summary:
    """Several values.

    Attributes:
        count: how many.
        median: of them.
        least: of them.
        most: of them.
        interval: 95 % confidence interval of `of`; None for a single value.
        of: what the interval is of.
    """

    count: int
    median: float
    least: float
    most: float
    interval: tuple[float, float] | None
    of: Literal["median", "mean"]


def summarize(values: Sequence[float]) -> Summary:
    """What at least one value says."""
    ordered = sorted(values)
    rank = _rank(len(ordered))
    interval: tuple[float, float] | None = None
    if rank is not None:
        interval = ordered[rank], ordered[-1 - rank]
    elif len(ordered) > 1:
        mean = statistics.fmean(ordered)
        error = statistics.stdev(ordered) / math.sqrt(len(ordered))
        half = _STUDENT_T[len(ordered) - 2] * error
        interval = mean - half, mean + half
    return Summary(
        count=len(ordered),
        median=statistics.median(ordered),
        least=ordered[0],
        most=ordered[-1],
        interval=interval,
        of="mean" if rank is None else "median",
    )


def _rank(count: int) -> int | None:
    """How many values may be left out at either end; None if there are too few for an interval.

    The median is below the k-th least with the probability that fewer than k of `count` fair coins
    show heads.
    """
    outside = 0.0
    for rank in range(count // 2):
        outside += 2 * math.comb(count, rank) / 2**count
        if outside > 1 - CONFIDENCE:
            return rank - 1 if rank else None
    return None
