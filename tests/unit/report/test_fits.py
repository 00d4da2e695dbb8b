# SPDX-License-Identifier: MIT
"""Fits as they are shown and kept."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pytest_xenscrub.report.fits import render_fits
from pytest_xenscrub.report.results import (
    ResultsFile,
    fits_as_properties,
    read_results,
    rows_of,
)
from pytest_xenscrub.scrub.fit import Fit
from pytest_xenscrub.units import GIB

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytest_xenscrub.scrub.row import Row

FIT = Fit("destroy", 0.5, 0.25, 0.99, 8)


def test_each_xen_has_a_line_of_its_own_and_repeats_share_one(a_row: Callable[..., Row]) -> None:
    rows = [
        a_row(slope * size + 0.25, memory_bytes=size * GIB, variant=variant, test=f"test_x{repeat}")
        for variant, slope in (("stock", 0.5), ("sync", 1.0))
        for repeat in ("[repeat1]", "[repeat2]")
        for size in (1, 2, 3, 5)
    ]
    _, _, stock, sync = render_fits(rows).splitlines()
    assert stock.split() == ["x", "xl", "stock", "8", "destroy", "0.500", "0.25", "1.000"]
    assert sync.split() == ["x", "xl", "sync", "8", "destroy", "1.000", "0.25", "1.000"]


def test_a_test_with_a_parameter_for_each_size_has_one_line(a_row: Callable[..., Row]) -> None:
    rows = [
        a_row(0.5 * size / part, memory_bytes=size * GIB // part, test=f"test_x[{size}GiB]")
        for size in (4, 32)
        for part in (4, 1)
    ]
    _, _, line = render_fits(rows).splitlines()
    assert line.split() == ["x", "xl", "stock", "4", "destroy", "0.500", "0.00", "1.000"]


def test_guests_of_one_size_are_not_shown(a_row: Callable[..., Row]) -> None:
    assert render_fits([a_row(float(n)) for n in range(9)]) == ""


def test_the_file_has_it_with_where_it_comes_from(
    tmp_path: Path, a_row: Callable[..., Row]
) -> None:
    path = tmp_path / "results.jsonl"
    row = a_row()
    ResultsFile(path).append_fit(row.setting, FIT)
    line = json.loads(path.read_text())
    ResultsFile(path).append(row)
    assert line["id"] == f"{row.setting.test}#fit-destroy"
    assert (line["variant"], line["seconds_per_gib"], line["r_squared"]) == ("stock", 0.5, 0.99)
    assert line["fit"] == "destroy"
    assert read_results(path) == [row]


def test_properties_of_a_fit_are_no_row() -> None:
    properties = fits_as_properties([FIT])
    assert ("xen.fit.destroy.seconds_per_gib", 0.5) in properties
    assert rows_of("test_x", properties) == []
