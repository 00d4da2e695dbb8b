# SPDX-License-Identifier: MIT
"""Statistics of repeated measurements.

Intervals have 95 % confidence. From six values on, the interval is of the median, and depends only
on the order of the values, so it is exact for any distribution: it is the narrowest pair of the
k-th smallest and the k-th largest value that contains the median with at least that probability.
Fewer values have no such pair. For them the interval is of the mean, by Student's t, which assumes
a normal distribution.

Whether later values are higher than earlier ones is decided by their ranks alone (Mann and
Whitney's test): the probability that the later values rank as high, if all ways to divide the
values are equally likely.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate, groupby
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

CONFIDENCE = 0.95
_STUDENT_T = (12.706, 4.303, 3.182, 2.776)
"""The 97.5 % quantile of Student's t for 1, 2, 3 and 4 degrees of freedom."""
SIGNIFICANT: Final = 0.05
"""Largest probability of a difference by chance that is more than noise."""
FEW: Final = 5
"""With fewer repeats than this in either run, no difference is called noise."""
_EXACT: Final = 60
"""Largest number of values for the exact test; with more, ranks are taken as normally
distributed."""
_BITS: Final = 64
"""Bits for a number of choices: enough for half of 60 values, but not of more."""


class Noise(StrEnum):
    """How a difference of two runs compares with the spread of their repeats."""

    MORE = "more than noise"
    WITHIN = "within noise"
    UNKNOWN = "too few repeats to tell"


@dataclass(frozen=True)
class Summary:
    """A summary of values.

    Attributes:
        count: number of values.
        median: their median.
        least: their minimum.
        most: their maximum.
        interval: 95 % confidence interval of `of`; None for a single value.
        of: what the interval is of: median or mean.
    """

    count: int
    median: float
    least: float
    most: float
    interval: tuple[float, float] | None
    of: Literal["median", "mean"]


def summarize(values: Sequence[float]) -> Summary:
    """Summarize at least one value."""
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
    """Number of values to leave out at either end; None with too few values for an interval.

    The median is below the k-th smallest value with the probability that fewer than k of `count`
    fair coins show heads.
    """
    outside = 0.0
    for rank in range(count // 2):
        outside += 2 * math.comb(count, rank) / 2**count
        if outside > 1 - CONFIDENCE:
            return rank - 1 if rank else None
    return None


# -- more than noise -----------------------------------------------------------------------------


def noise(then: Sequence[float], now: Sequence[float]) -> Noise:
    """Whether the values of `now` are higher than those of `then` by more than noise.

    Both have at least one value. With fewer than five values in either, a single outlier can hide a
    real difference, so the result is never `WITHIN`.
    """
    if chance(then, now) <= SIGNIFICANT:
        return Noise.MORE
    return Noise.UNKNOWN if min(len(then), len(now)) < FEW else Noise.WITHIN


def chance(then: Sequence[float], now: Sequence[float]) -> float:
    """Probability that `now` ranks at least as high as it does, if both have the same distribution.

    Exact, with ties, for up to 60 values in all.
    """
    values = [*then, *now]
    ranks = _doubled_ranks(values)
    ranked = sum(ranks[len(then) :])
    if len(values) > _EXACT:
        return _normal_chance(ranks, len(now), ranked)
    # ways[n] has, for each sum of ranks, the number of choices of n values with that sum: 64 bits
    # for each sum, in one large integer, which is far faster than a list.
    ways = [1] + [0] * len(now)
    for rank in ranks:
        for count in range(len(now), 0, -1):
            ways[count] += ways[count - 1] << (_BITS * rank)
    as_high = (ways[-1] >> (_BITS * ranked)).to_bytes(_BITS // 8 * (sum(ranks) + 1), "little")
    return sum(memoryview(as_high).cast("Q")) / math.comb(len(values), len(now))


def _doubled_ranks(values: Sequence[float]) -> list[int]:
    """Twice the rank of each value, so that ranks of ties are integers, too."""
    sizes = [len(list(same)) for _, same in groupby(sorted(values))]
    ends = list(accumulate(sizes))
    doubled = [2 * end - size + 1 for end, size in zip(ends, sizes, strict=True)]
    known = dict(zip(sorted(set(values)), doubled, strict=True))
    return [known[value] for value in values]


def _normal_chance(ranks: Sequence[int], count: int, ranked: int) -> float:
    """As `chance`, for many values, by mean and deviation of a sum of `count` of the ranks."""
    mean = statistics.fmean(ranks)
    left = (len(ranks) - count) / (len(ranks) - 1)
    deviation = math.sqrt(count * left * statistics.pvariance(ranks))
    if not deviation:
        return 1.0
    # Half a step less (continuity correction): doubled ranks of values without ties are in steps of
    # 2.
    return math.erfc((ranked - 1 - count * mean) / deviation / math.sqrt(2)) / 2
