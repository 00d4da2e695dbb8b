# SPDX-License-Identifier: MIT
from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pytest_xenscrub.report.repeats import render_repeats
from pytest_xenscrub.report.table import count, values
from pytest_xenscrub.scrub.row import METRICS

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_xenscrub.scrub.row import Row

    MakeRow = Callable[..., Row]

DESTROY, COVERAGE = (next(m for m in METRICS if m.name == name) for name in ("destroy", "coverage"))


def test_a_line_for_each_metric_that_was_measured_more_than_once(a_row: MakeRow) -> None:
    rows = [a_row(float(n), gone=0.5 if n == 1 else None) for n in range(1, 8)]
    _, _, line = (re.split(r"\s{2,}", each) for each in render_repeats(rows).splitlines())
    assert line[-7:] == ["destroy", "s", "7", "4.00", "1.00", "7.00", "1.00 to 7.00"]


def test_once_is_no_repeat(a_row: MakeRow) -> None:
    assert render_repeats([a_row(1.0)]) == ""


def test_of_few_the_interval_says_that_it_is_the_means(a_row: MakeRow) -> None:
    assert render_repeats([a_row(1.0), a_row(1.0)]).endswith("1.00 to 1.00 (t)")


def test_the_first_after_a_boot_is_no_repeat_of_the_others(a_row: MakeRow) -> None:
    rows = [a_row(9.0, first_after_boot=True, coverage=0.5), a_row(1.0, coverage=0.9), a_row(2.0)]
    assert values(rows, DESTROY) == [1.0, 2.0]
    assert count(rows) == "3*"


def test_the_first_after_a_boot_counts_where_it_is_alone(a_row: MakeRow) -> None:
    rows = [a_row(9.0, first_after_boot=True), a_row(None)]
    assert values(rows, DESTROY) == [9.0]
    assert count(rows[:1]) == "*"


def test_coverage_counts_also_after_a_boot(a_row: MakeRow) -> None:
    rows = [a_row(9.0, first_after_boot=True, coverage=0.5), a_row(1.0, coverage=0.9)]
    assert values(rows, COVERAGE) == [0.5, 0.9]
