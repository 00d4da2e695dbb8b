# SPDX-License-Identifier: MIT
"""The declaration of what is measured."""

from __future__ import annotations

import dataclasses

import pytest

from pytest_xenscrub.scrub.row import METRICS, PAGES, RATE, SECONDS, SHARE, Metric, Row, Unit
from pytest_xenscrub.units import GIB


def named(name: str) -> Metric:
    (found,) = [metric for metric in METRICS if metric.name == name]
    return found


def test_every_figure_that_may_be_missing_is_declared() -> None:
    optional = {field.name for field in dataclasses.fields(Row) if field.default is None}
    sampled = {"filled_bytes", "filled_share", "found_share"}
    assert optional - sampled - {"exposure_curve", "profile", "verdict", "differences"} == {
        metric.name for metric in METRICS
    }


def test_a_metric_says_what_it_is() -> None:
    assert all(metric.definition for metric in METRICS)
    assert named("destroy") == Metric(
        "destroy", SECONDS,
        "destroy issued → the toolstack returns: what `time xl destroy` shows",
        column="destroy", more_is_better=False, least=False, main=True,
    )  # fmt: skip
    assert named("probe_bytes_per_second").column == "probe"
    assert named("residue_frames").column == ""


def test_columns_are_named_once() -> None:
    columns = [metric.column for metric in METRICS if metric.column]
    assert len(set(columns)) == len(columns)


@pytest.mark.parametrize(
    ("unit", "value", "shown"),
    [
        (SECONDS, 1.034, "1.03"),
        (RATE, 2.55 * GIB, "2.5"),
        (SHARE, 0.99954, "99.95%"),
        (PAGES, 4096, "4096"),
    ],
)
def test_units(unit: Unit, value: float, shown: str) -> None:
    assert unit.show(value) == shown
