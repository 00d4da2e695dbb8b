# SPDX-License-Identifier: MIT
"""The line through times and sizes."""

from __future__ import annotations

import pytest

from pytest_xenscrub.scrub.fit import Fit, fits
from pytest_xenscrub.scrub.row import Row, Setting
from pytest_xenscrub.units import GIB

SETTING = Setting("test_x", "emulated", "real", "xl", "stock", "4.17", debug=False, build_id="")


def rows(times: dict[float, float | None], clean: float | None = None) -> list[Row]:
    return [
        Row(SETTING, number, "destroy", int(size * GIB), 1, destroy=seconds, clean=clean)
        for number, (size, seconds) in enumerate(times.items())
    ]


def test_a_line_is_found_exactly() -> None:
    (fit,) = fits(rows({1: 0.7, 2: 1.2, 3: 1.7, 8: 4.2}))
    assert (fit.metric, fit.guests) == ("destroy", 4)
    assert fit.seconds_per_gib == pytest.approx(0.5)
    assert fit.intercept == pytest.approx(0.2)
    assert fit.r_squared == pytest.approx(1)


def test_what_is_no_line_has_a_low_r_squared() -> None:
    (fit,) = fits(rows({1: 1.0, 2: 9.0, 3: 1.0, 4: 9.0}))
    assert 0 < fit.r_squared < 0.5


def test_a_time_that_does_not_grow_is_a_flat_line() -> None:
    assert fits(rows({1: None, 2: None, 3: None, 4: None}, clean=2.0)) == [Fit("clean", 0, 2, 1, 4)]


@pytest.mark.parametrize("times", [{}, {1: 1.0, 2: 2.0, 3: 3.0}, {1: 1.0, 2: 2.0, 3: 3.0, 4: None}])
def test_too_few_sizes_are_no_line(times: dict[float, float | None]) -> None:
    assert fits(rows(times)) == []


def test_many_guests_of_one_size_are_one_size() -> None:
    assert fits(rows({1: 1.0}) * 9) == []
