# SPDX-License-Identifier: MIT
from __future__ import annotations

import itertools
import random

import pytest

from pytest_xenscrub.report.statistics import CONFIDENCE, Noise, chance, noise, summarize


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


@pytest.mark.parametrize(
    ("then", "now"),
    [
        ([1.0], [2.0]),
        ([1.0, 2.0, 3.0], [4.0, 5.0, 6.0]),
        ([1.0, 5.0, 3.0, 3.0], [2.0, 3.0, 6.0]),
        ([1.0] * 4, [1.0, 1.0, 2.0, 2.0]),
        ([2.0, 2.0], [2.0, 2.0, 2.0]),
        ([0.3, 0.9, 0.5, 0.6, 0.4], [0.7, 0.45, 0.8, 0.95, 0.2]),
    ],
)
def test_the_chance_is_that_of_all_ways_to_share_out_the_values(
    then: list[float], now: list[float]
) -> None:
    values = sorted([*then, *now])

    def rank(value: float) -> float:
        return values.index(value) + (values.count(value) + 1) / 2

    seen = sum(map(rank, now))
    sums = [sum(map(rank, taken)) for taken in itertools.combinations(values, len(now))]
    assert chance(then, now) == pytest.approx(sum(each >= seen for each in sums) / len(sums))


def test_of_many_values_the_chance_is_nearly_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    values = random.Random(3)  # noqa: S311 - no secret
    then = [round(values.gauss(1.0, 0.1), 2) for _ in range(25)]
    now = [round(values.gauss(1.05, 0.1), 2) for _ in range(25)]
    exact = chance(then, now)
    monkeypatch.setattr("pytest_xenscrub.report.statistics._EXACT", 0)
    assert chance(then, now) == pytest.approx(exact, abs=0.002)
    assert chance([1.0] * 9, [1.0] * 9) == 1.0


@pytest.mark.parametrize(
    ("then", "now", "told"),
    [
        ([1.0], [9.0], Noise.UNKNOWN),
        ([1.0, 1.0], [9.0, 9.0], Noise.UNKNOWN),
        ([1.0] * 3, [9.0], Noise.UNKNOWN),
        ([1.0, 1.1, 1.2], [1.3, 1.4, 1.5], Noise.MORE),
        ([1.0, 1.1, 1.3], [1.2, 1.4, 1.5], Noise.UNKNOWN),
        ([1.0, 1.1, 1.2, 1.3], [1.15, 1.25, 1.4, 1.1], Noise.UNKNOWN),
        ([1.0, 1.1, 1.2, 1.3, 1.4], [1.15, 1.25, 1.4, 1.1, 1.05], Noise.WITHIN),
        ([1.0, 1.1, 1.2, 1.3, 1.4], [1.15, 1.45, 1.5, 1.6, 1.7], Noise.MORE),
        ([1.0, 1.1, 1.2, 1.3, 1.4], [0.1, 0.2, 0.3, 0.4, 0.5], Noise.WITHIN),
        ([1.0] * 30, [1.1] * 4, Noise.MORE),
        ([1.0] * 30, [1.0] * 4, Noise.UNKNOWN),
        ([1.0] * 19, [2.0], Noise.MORE),
    ],
)
def test_more_than_noise(then: list[float], now: list[float], told: Noise) -> None:
    assert noise(then, now) is told


def test_runs_of_the_same_are_seldom_more_than_noise() -> None:
    values = random.Random(5)  # noqa: S311 - no secret
    found = [
        noise(*([values.gauss(1, 0.2) for _ in range(6)] for _ in range(2))) for _ in range(1000)
    ]
    assert 20 < found.count(Noise.MORE) <= 60
