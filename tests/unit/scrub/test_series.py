# SPDX-License-Identifier: MIT
"""Series: small, and nothing that happened is missing."""

from __future__ import annotations

import json

from pytest_xenscrub.dom0.answers import Reclaim
from pytest_xenscrub.scrub.series import MOST_POINTS, series_of


def reclaim(
    samples: list[tuple[float, int, str]], backlog: list[tuple[float, int]] | None = None
) -> Reclaim:
    return Reclaim(100.0, 101.0, None, None, None, None, samples, backlog or [])


def test_only_changes_and_the_last_look_are_kept() -> None:
    samples = [
        (100.01, 5, "alive"), (100.02, 5, "alive"), (100.03, 5, "dying"), (100.04, 7, "dying"),
        (100.05, 9, ""), (100.06, 9, ""),
    ]  # fmt: skip
    series = series_of(reclaim(samples, [(99.99, 0), (100.5, 8), (100.6, 0)]))
    assert series == {
        "free_bytes": [(0.01, 5), (0.04, 7), (0.05, 9), (0.06, 9)],
        "state": [(0.01, "alive"), (0.03, "dying"), (0.05, ""), (0.06, "")],
        "backlog_pages": [(-0.01, 0), (0.5, 8), (0.6, 0)],
    }


def test_nothing_seen_is_no_point() -> None:
    assert series_of(reclaim([])) == {"free_bytes": [], "state": [], "backlog_pages": []}


def test_a_long_series_is_thinned_and_keeps_its_ends() -> None:
    samples = [(100 + n / 100, n << 20, "dying") for n in range(100_000)]
    points = series_of(reclaim(samples))["free_bytes"]
    assert len(points) == MOST_POINTS
    assert (points[0], points[-1]) == ((0.0, 0), (999.99, 99_999 << 20))
    assert len(json.dumps(points)) < 20_000
