# SPDX-License-Identifier: MIT
"""Figures over many runs: what is a change, what is noise, and what must not be compared."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.report.history import change_points, history
from pytest_xenscrub.report.results import RunResults

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_xenscrub.scrub.row import Row

    MakeRow = Callable[..., Row]


def nights(rows: list[Row]) -> list[RunResults]:
    return [RunResults(f"2026-11-{n:02}", {"0": row}) for n, row in enumerate(rows, 1)]


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([], []),
        ([1.0] * 30, []),
        ([1.0, 1.1, 1.0, 1.2, 1.1, 2.0], []),  # one night is no change yet
        ([1.0, 1.1, 1.05, 1.2, 1.1, 1.0, 1.15, 2.0, 2.1, 2.05, 2.2, 2.0, 2.3], [7]),
        ([2.0, 2.1, 2.05, 2.2, 2.0, 2.3, 1.0, 1.1, 1.05, 1.2, 1.1, 1.0, 1.15], [6]),
        ([float(n // 10) for n in range(30)], [10, 20]),
    ],
)
def test_a_change(values: list[float], found: list[int]) -> None:
    assert change_points(values) == found


def test_noise_is_seldom_called_a_change() -> None:
    chance = random.Random(1)  # noqa: S311 - no secret
    series = [[chance.gauss(1, 0.1) for _ in range(30)] for _ in range(200)]
    assert sum(bool(change_points(values)) for values in series) <= 4


def test_what_changed_most_comes_first(a_row: MakeRow) -> None:
    rows = [a_row(1.0, clean=2.0), a_row(1.0, clean=2.1), a_row(3.0, clean=2.0)]
    first, second = history(nights(rows))
    assert (first.metric.name, first.ratio) == ("destroy", 3.0)
    assert second.metric.name == "clean"
    assert [point.value for point in first.points] == [1.0, 1.0, 3.0]


def test_what_the_last_run_did_not_measure_comes_last(a_row: MakeRow) -> None:
    rows = [a_row(1.0, clean=2.0), a_row(9.0, clean=2.0), a_row(None, clean=2.0)]
    assert [series.metric.name for series in history(nights(rows))] == ["clean", "destroy"]


def test_another_machine_is_a_gap(a_row: MakeRow) -> None:
    rows = [
        a_row(1.0),
        a_row(1.1),
        a_row(9.0, cpu_model="another"),
        a_row(9.9, cpu_model="another"),
    ]
    (series,) = history(nights(rows))
    assert series.gaps == (2,)
    assert series.ratio == pytest.approx(1.1)


def test_a_starved_run_is_not_compared(a_row: MakeRow) -> None:
    (series,) = history(nights([a_row(1.0), a_row(8.0, too_starved=True), a_row(1.2)]))
    assert series.ratio == pytest.approx(1.2)
    (series,) = history(nights([a_row(1.0), a_row(8.0, too_starved=True)]))
    assert series.ratio is None


def test_one_run_has_no_history(a_row: MakeRow) -> None:
    assert history(nights([a_row(1.0)])) == []


def test_hosts_of_a_pool_have_series_of_their_own(a_row: MakeRow) -> None:
    """The slower machine is no change of Xen's."""
    runs = [
        RunResults(f"2026-11-{n:02}", {
            host: a_row(seconds, host=host) for host, seconds in (("lab7", 1.0), ("lab8", 9.0))
        })
        for n in range(10, 20)
    ]  # fmt: skip
    first, second = history(runs)
    assert {first.name, second.name} == {
        "destroyed_guest (stock, xl, 1024 MiB, lab7)", "destroyed_guest (stock, xl, 1024 MiB, lab8)"
    }  # fmt: skip
    assert [*first.changes, *second.changes, *first.gaps, *second.gaps] == []
    assert len(first.points) == len(second.points) == 10


def test_guests_of_another_type_or_sample_are_not_the_same_figure(a_row: MakeRow) -> None:
    rows = [a_row(1.0), a_row(1.0), a_row(9.0, guest_type="pvh"), a_row(9.0, fill_share=0.01)]
    (series,) = history(nights(rows))
    assert [point.value for point in series.points] == [1.0, 1.0]


@pytest.mark.parametrize(
    ("source", "build", "shown"),
    [
        ("git 0123456789ab", "c0ffee", "012345678"),
        ("git 0123456789ab+", "c0ffee", "012345678+"),
        ("/home/me/xen", "c0ffeec0ffee", "c0ffeec0f"),
        ("", "", "4.17.5"),
    ],
)
def test_an_axis_has_the_commit(a_row: MakeRow, source: str, build: str, shown: str) -> None:
    rows = [a_row(1.0, source=source, build_id=build)] * 2
    (series,) = history(nights(rows))
    assert [point.commit for point in series.points] == [shown, shown]
