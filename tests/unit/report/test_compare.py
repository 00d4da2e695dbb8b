# SPDX-License-Identifier: MIT
from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pytest_xenscrub.report.compare import render_comparison
from pytest_xenscrub.report.table import Chosen

from .conftest import EVERY

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_xenscrub.scrub.row import Row

    MakeRow = Callable[..., Row]


def lines_of(text: str) -> list[list[str]]:
    return [re.split(r"\s{2,}", line.strip()) for line in text.splitlines()[2:]]


def test_speed_up_is_against_the_first_variant(a_row: MakeRow) -> None:
    rows = [
        a_row(8.0, variant="sync"),
        a_row(1.0, variant="stock"),
        a_row(10.0, variant="sync"),
        a_row(12.0, variant="sync"),
        a_row(4.0, variant="tasklet", free=5.0, clean=6.0),
    ]
    assert lines_of(render_comparison(rows, "sync", EVERY)) == [
        ["destroyed_guest", "xl", "sync", "1024", "3", "10.00 (8.00-12.00)", "1.00x", "clean"],
        ["destroyed_guest", "xl", "stock", "1024", "1", "1.00", "10.00x", "clean"],
        ["destroyed_guest", "xl", "tasklet", "1024", "1", "4.00", "2.50x", "5.00", "6.00", "clean"],
    ]


def test_how_long_bytes_stayed_is_compared_where_it_was_seen(a_row: MakeRow) -> None:
    rows = [
        a_row(2.0, variant="sync", exposure=1.5, exposed_byte_seconds=2 << 30),
        a_row(1.0, variant="noscrub", exposure_over=9.0, exposed_byte_seconds=9 << 30),
    ]
    text = render_comparison(rows, "sync", EVERY)
    assert text.splitlines()[0].split()[-3:] == ["exposure", "exposed", "verdict"]
    assert lines_of(text) == [
        ["destroyed_guest", "xl", "sync", "1024", "1", "2.00", "1.00x", "1.50", "2.00", "clean"],
        [
            "destroyed_guest",
            "xl",
            "noscrub",
            "1024",
            "1",
            "1.00",
            "2.00x",
            "> 9.00",
            "9.00",
            "clean",
        ],
    ]
    assert "exposure" not in render_comparison([a_row(1.0), a_row(1.0, variant="sync")], "stock")


def test_what_matters_first_is_shown(a_row: MakeRow) -> None:
    rows = [a_row(variant="sync", free=1.0, clean=2.0), a_row(variant="stock", free=1.0)]
    header = render_comparison(rows, "sync").splitlines()[0].split()
    assert header == ["test", "variant", "MiB", "n", "destroy", "speed-up", "clean", "verdict"]
    header = render_comparison(rows, "sync", Chosen(("free",))).splitlines()[0].split()
    assert header == ["test", "variant", "free"]


def test_one_variant_is_no_comparison(a_row: MakeRow) -> None:
    assert render_comparison([a_row(1.0), a_row(2.0)], "stock") == ""
    assert render_comparison([], "stock") == ""


def test_tests_that_ran_on_one_variant_only_are_left_out(a_row: MakeRow) -> None:
    rows = [
        a_row(1.0, variant="stock"),
        a_row(2.0, variant="sync"),
        a_row(3.0, variant="sync", test="x.py::test_alone"),
    ]
    assert "alone" not in render_comparison(rows, "stock")


def test_only_the_same_is_compared(a_row: MakeRow) -> None:
    rows = [
        a_row(1.0, variant="stock"),
        a_row(2.0, variant="sync", memory_bytes=8 << 30),
        a_row(2.0, variant="sync", toolstack="libvirt"),
        a_row(2.0, variant="sync", how="crash"),
    ]
    assert render_comparison(rows, "stock") == ""


def test_ends_without_a_destroy_are_not_compared(a_row: MakeRow) -> None:
    rows = [a_row(None, variant="stock"), a_row(None, variant="sync")]
    assert render_comparison(rows, "stock") == ""


def test_without_the_first_variant_there_is_no_speed_up(a_row: MakeRow) -> None:
    rows = [a_row(1.0, variant="sync"), a_row(2.0, variant="tasklet")]
    text = render_comparison(rows, "stock")
    assert "x " not in text
    assert [line[4] for line in lines_of(text)] == ["1.00", "2.00"]


def test_a_destroy_in_no_time_is_no_division_by_it(a_row: MakeRow) -> None:
    text = render_comparison([a_row(0.0, variant="sync"), a_row(1.0, variant="stock")], "stock")
    assert "1.00x" in text


def test_one_leak_of_many_is_a_leak(a_row: MakeRow) -> None:
    rows = [
        a_row(1.0, variant="stock"),
        a_row(1.0, variant="noscrub"),
        a_row(1.0, variant="noscrub", verdict="residue"),
    ]
    assert [line[-1] for line in lines_of(render_comparison(rows, "stock"))] == ["clean", "RESIDUE"]
