# SPDX-License-Identifier: MIT
"""Free memory, backlog and the domain's state against time, as the results keep them."""

from __future__ import annotations

from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_xenscrub.dom0.answers import Reclaim

Points: TypeAlias = list[tuple[float, int | str]]
Series: TypeAlias = dict[str, Points]

MOST_POINTS = 500
"""Upper bound on a series' length: a plot cannot show more points, and 1 TiB takes minutes."""
_DIGITS = 4


def series_of(reclaim: Reclaim) -> Series:
    """Make three series of points: s since the end of the guest was asked for, and the value then.

    Keeps only changes, and the last point. `free_bytes` is Xen's count, which may include pages
    that are not scrubbed yet. `state` is "alive", "dying", or "" for a domain that is gone.
    `backlog_pages` has fewer points; the first one is just before the end was asked for.
    """
    samples = reclaim.samples
    return {
        "free_bytes": _changes(reclaim.issued, ((at, free) for at, free, _ in samples)),
        "state": _changes(reclaim.issued, ((at, state) for at, _, state in samples)),
        "backlog_pages": _changes(reclaim.issued, reclaim.backlog),
    }


def _changes(issued: float, looks: Iterable[tuple[float, int | str]]) -> Points:
    points: Points = [(round(at - issued, _DIGITS), value) for at, value in looks]
    changes = [next(same) for _, same in groupby(points, key=itemgetter(1))]
    if points and points[-1] != changes[-1]:
        changes.append(points[-1])
    return _thinned(changes)


def _thinned(points: Points) -> Points:
    """Pick at most `MOST_POINTS` points, evenly spread, with the first and the last one."""
    last = len(points) - 1
    if last < MOST_POINTS:
        return points
    return [points[n * last // (MOST_POINTS - 1)] for n in range(MOST_POINTS)]
