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
"""Greatest length of a series; a plot would not show more, and 1 TiB takes minutes."""
_DIGITS = 4


def series_of(reclaim: Reclaim) -> Series:
    """Three series of points: s since the end was asked for, and what was seen then.

    Only changes are kept, and the last look. `free_bytes` is Xen's count, with what is not scrubbed
    yet; `state` is "alive", "dying", or "" for a domain that is gone; `backlog_pages` is looked at
    less often, for the first time just before the end was asked for.
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
    """At most `MOST_POINTS`, evenly spread, the first and the last among them."""
    last = len(points) - 1
    if last < MOST_POINTS:
        return points
    return [points[n * last // (MOST_POINTS - 1)] for n in range(MOST_POINTS)]
