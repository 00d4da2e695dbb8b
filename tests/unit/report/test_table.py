# SPDX-License-Identifier: MIT
from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.report import table
from pytest_xenscrub.report.table import count, grouped, render, spread, worst_verdict
from pytest_xenscrub.units import GIB, MIB

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_xenscrub.scrub.row import Row

    MakeRow = Callable[..., Row]


def cells(text: str) -> list[dict[str, str]]:
    """The table's lines, by their column."""
    header, _, *lines = (re.split(r"\s{2,}", line.strip()) for line in text.splitlines())
    return [dict(zip(header, line, strict=True)) for line in lines]


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([], ""),
        ([None, None], ""),
        ([1.034], "1.03"),
        ([1.0, None, 3.0, 1.5], "1.50 (1.00-3.00)"),
        ([1.0, 2.0], "1.50 (1.00-2.00)"),
        ([0.0], "0.00"),
    ],
)
def test_spread(values: list[float | None], shown: str) -> None:
    assert spread(values) == shown


def test_a_row_is_a_line(a_row: MakeRow) -> None:
    row = a_row(
        1.25, create=0.5, fill=0.75, gone=1.5, free=1.6, clean=2.0, recreate=3.0,
        probe_bytes_per_second=2.5 * GIB, coverage=0.99954,
    )  # fmt: skip
    assert cells(render([row])) == [
        {
            "test": "destroyed_guest", "toolstack": "xl", "variant": "stock", "Xen": "4.17.5",
            "MiB": "1024", "create": "0.50", "fill": "0.75", "destroy": "1.25", "gone": "1.50",
            "free": "1.60", "clean": "2.00", "recreate": "3.00", "probe": "2.5",
            "coverage": "99.95%", "verdict": "clean",
        }
    ]  # fmt: skip


def test_nothing_measured_is_no_table() -> None:
    assert render([]) == ""


def test_columns_that_nothing_was_measured_for_are_left_out(a_row: MakeRow) -> None:
    (line,) = cells(render([a_row(2.0)]))
    assert list(line) == ["test", "toolstack", "variant", "Xen", "MiB", "destroy", "verdict"]


def test_the_type_of_guest_is_a_column_where_it_is_not_pv_alone(a_row: MakeRow) -> None:
    rows = [a_row(2.0), a_row(2.0, guest_type="pvh", test="a.py::test_x[pvh]")]
    assert [line["guest"] for line in cells(render(rows))] == ["pv", "pvh"]
    assert [line["test"] for line in cells(render(rows))][1] == "x"
    (line,) = cells(render(rows[1:]))
    assert line["guest"] == "pvh"
    (line,) = cells(render(rows[:1]))
    assert "guest" not in line


def test_other_tables_say_the_type_with_the_name(a_row: MakeRow) -> None:
    assert table.typed_name(a_row(test="a.py::test_x[pvh]", guest_type="pvh")) == "x (pvh)"
    assert table.typed_name(a_row(test="a.py::test_x[pv]")) == "x"


def test_repeats_are_one_line(a_row: MakeRow) -> None:
    name = "tests/test_x.py::test_destroyed_guest[stock-repeat{}]"
    rows = [a_row(float(n), test=name.format(n)) for n in (1, 2, 6)]
    (line,) = cells(render(rows))
    assert line["test"] == "destroyed_guest"
    assert line["n"] == "3"
    assert line["destroy"] == "2.00 (1.00-6.00)"


def test_a_few_pages_more_are_the_same_size(a_row: MakeRow) -> None:
    rows = [a_row(memory_bytes=size) for size in (1024 * MIB, 1025 * MIB)]
    assert len(grouped(rows)) == 1


@pytest.mark.parametrize(
    "other",
    [
        {"test": "tests/test_x.py::test_another"},
        {"test": "tests/test_x.py::test_destroyed_guest[huge]"},
        {"host": "lab7"},
        {"toolstack": "libvirt"},
        {"guest_type": "pvh"},
        {"variant": "tasklet"},
        {"xen": "4.18.0"},
        {"debug": True},
        {"memory_bytes": 2 << 30},
        {"how": "crash"},
    ],
)
def test_what_differs_in_more_than_figures_is_another_line(
    a_row: MakeRow, other: dict[str, object]
) -> None:
    rows = [a_row(1.0), a_row(2.0, **other), a_row(3.0)]
    assert [[row.destroy for row in group] for group in grouped(rows)] == [[1.0, 3.0], [2.0]]


@pytest.mark.parametrize(
    ("test", "shown"),
    [
        ("a.py::test_x", "x"),
        ("a.py::TestClass::test_x", "x"),
        ("a.py::test_x[stock]", "x"),
        ("a.py::test_x[control-crash-repeat12]", "x[crash]"),
        ("a.py::test_x[xl-huge-stock]", "x[huge]"),
        ("a.py::check", "check"),
    ],
)
def test_a_name_says_nothing_that_other_columns_say(a_row: MakeRow, test: str, shown: str) -> None:
    assert table.test_name(a_row(test=test)) == shown


def test_a_debug_build_is_named(a_row: MakeRow) -> None:
    (line,) = cells(render([a_row(debug=True)]))
    assert line["Xen"] == "4.17.5 debug"


@pytest.mark.parametrize(
    ("states", "shown"),
    [
        (["clean", "clean"], "clean"),
        (["clean", None], "-"),
        (["clean", "unproven", None], "UNPROVEN"),
        (["clean", "residue", "unproven", None], "RESIDUE"),
    ],
)
def test_the_worst_verdict_wins(a_row: MakeRow, states: list[str | None], shown: str) -> None:
    rows = [a_row(verdict=state) for state in states]
    assert worst_verdict(rows) == shown
    (line,) = cells(render(rows))
    assert line["verdict"] == shown


def test_the_least_coverage_is_shown(a_row: MakeRow) -> None:
    rows = [a_row(coverage=share) for share in (1.0, 0.991, None, 0.995)]
    (line,) = cells(render(rows))
    assert line["coverage"] == "99.10%"


def test_the_legend_has_a_line_for_each_column_of_figures() -> None:
    lines = table.legend()
    assert "gone: destroy issued → the domain is out of the list, dying ones included (s)" in lines
    assert [line.split(":")[0] for line in lines] == [metric.column for metric in table.COLUMNS]
    assert table.UNITS.endswith(", probe in GiB/s")


def test_what_a_starved_host_took_is_marked(a_row: Callable[..., Row]) -> None:
    assert count([a_row(), a_row(too_starved=True)]) == "2~"
    assert count([a_row(too_starved=True, first_after_boot=True)]) == "*~"
