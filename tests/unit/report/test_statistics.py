# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest

from pytest_xenscrub.report.statistics import CONFIDENCE, summarize


@pytest.mark.parametrize(
    ("count", "rank"),
    # From the tables of the binomial distribution: how many are left out at either end.
    [(6, 0), (8, 0), (9, 1), (11, 1), (12, 2), (15, 3), (17, 4), (20, 5), (25, 7), (30, 9)],
)
def test_from_six_on_the_interval_is_the_medians_by_rank(count: int, rank: int) -> None:
    summary = summarize([float(n) for n in range(count)][::-1])
    assert summary.interval == (float(rank), float(count - 1 - rank))
    assert summary.of == "median"


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [
        ([1.0, 2.0], 1.5 - 6.353, 1.5 + 6.353),
        ([1.0, 2.0, 3.0], -0.484, 4.484),
        ([4.8, 5.0, 5.2, 5.1, 4.9], 4.8037, 5.1963),
    ],
)
def test_of_fewer_it_is_the_means_by_students_t(
    values: list[float], low: float, high: float
) -> None:
    summary = summarize(values)
    assert summary.interval is not None
    assert list(summary.interval) == pytest.approx([low, high], abs=1e-3)
    assert summary.of == "mean"


def test_one_value_has_no_interval() -> None:
    summary = summarize([2.0])
    assert (summary.count, summary.median, summary.least, summary.most) == (1, 2.0, 2.0, 2.0)
    assert summary.interval is None


def test_median_least_and_most() -> None:
    summary = summarize([3.0, 1.0, 2.0, 10.0])
    assert (summary.count, summary.median, summary.least, summary.most) == (4, 2.5, 1.0, 10.0)


def test_confidence() -> None:
    assert CONFIDENCE == 0.95
