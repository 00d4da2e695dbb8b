# SPDX-License-Identifier: MIT
"""What several measurements of the same say together.

The interval is of 95 % confidence. From six repeats on it is the median's, from the order of the
values alone (exact, whatever their distribution): the narrowest pair of the k-th least and the k-th
most that holds the median with at least that probability. Fewer values have no such pair; for those
it is the mean's, by Student's t, which takes them as normally distributed.

Whether values are more than earlier ones is asked of their ranks alone (Mann and Whitney's test):
of all ways to share out the values of both, in how many do the later ones rank as high?
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
"""With at most this chance a difference is more than noise."""
FEW: Final = 5
"""Of fewer repeats of either run nothing is called noise."""
_EXACT: Final = 60
"""Values in all, above which the distribution of ranks is taken as the normal one."""
_BITS: Final = 64
"""So many choices of half of 60 values fit, and those of more do not."""


class Noise(StrEnum):
    """How a difference of two runs compares with the spread of their own repeats."""

    MORE = "more than noise"
    WITHIN = "within noise"
    UNKNOWN = "too few repeats to tell"


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


# -- more than noise -----------------------------------------------------------------------------


def noise(then: Sequence[float], now: Sequence[float]) -> Noise:
    """Whether the values of `now` are higher than those of `then` by more than noise.

    Both have at least one value. Of fewer than five each, a single one that is out of order hides
    a real difference: what is no more than noise there is not called noise either.
    """
    if chance(then, now) <= SIGNIFICANT:
        return Noise.MORE
    return Noise.UNKNOWN if min(len(then), len(now)) < FEW else Noise.WITHIN


def chance(then: Sequence[float], now: Sequence[float]) -> float:
    """How likely `now` ranks at least as high as it does, if both are of one distribution.

    It is exact, with ties, up to 60 values in all.
    """
    values = [*then, *now]
    ranks = _doubled_ranks(values)
    ranked = sum(ranks[len(then) :])
    if len(values) > _EXACT:
        return _normal_chance(ranks, len(now), ranked)
    # For each number of values, how many choices of so many have which sum of ranks: 64 bits for
    # each sum, all in one whole number, which is far faster than a list.
    ways = [1] + [0] * len(now)
    for rank in ranks:
        for count in range(len(now), 0, -1):
            ways[count] += ways[count - 1] << (_BITS * rank)
    as_high = (ways[-1] >> (_BITS * ranked)).to_bytes(_BITS // 8 * (sum(ranks) + 1), "little")
    return sum(memoryview(as_high).cast("Q")) / math.comb(len(values), len(now))


def _doubled_ranks(values: Sequence[float]) -> list[int]:
    """Twice the rank of each value, which makes those of ties whole numbers."""
    sizes = [len(list(same)) for _, same in groupby(sorted(values))]
    ends = list(accumulate(sizes))
    doubled = [2 * end - size + 1 for end, size in zip(ends, sizes, strict=True)]
    known = dict(zip(sorted(set(values)), doubled, strict=True))
    return [known[value] for value in values]


def _normal_chance(ranks: Sequence[int], count: int, ranked: int) -> float:
    """The same for many values: by the mean and deviation of a sum of `count` of the ranks."""
    mean = statistics.fmean(ranks)
    left = (len(ranks) - count) / (len(ranks) - 1)
    deviation = math.sqrt(count * left * statistics.pvariance(ranks))
    if not deviation:
        return 1.0
    # Sums are whole numbers: half of one more is where the next would begin.
    return math.erfc((ranked - 1 - count * mean) / deviation / math.sqrt(2)) / 2
