# SPDX-License-Identifier: MIT
from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.report import table
from pytest_xenscrub.report.table import Chosen, count, grouped, render, spread, worst_verdict
from pytest_xenscrub.units import GIB, MIB

from .conftest import EVERY

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
    assert cells(render([row], EVERY)) == [
        {
            "test": "destroyed_guest", "host": "emulated", "guest": "pv", "toolstack": "xl",
            "variant": "stock", "Xen": "4.17.5",
            "MiB": "1024", "create": "0.50", "fill": "0.75", "destroy": "1.25", "gone": "1.50",
            "free": "1.60", "clean": "2.00", "recreate": "3.00", "probe": "2.5",
            "coverage": "99.95%", "verdict": "clean",
        }
    ]  # fmt: skip
    assert list(cells(render([row]))[0]) == ["test", "MiB", "destroy", "clean", "verdict"]


def test_where_it_was_measured_is_shown_if_rows_differ_in_it(a_row: MakeRow) -> None:
    rows = [
        a_row(),
        a_row(host="lab7"),
        a_row(toolstack="libvirt"),
        a_row(variant="sync"),
        a_row(xen="4.18.0", debug=True),
        a_row(guest_type="pvh"),
    ]
    lines = cells(render(rows))
    assert list(lines[0]) == [
        "test", "host", "guest", "toolstack", "variant", "Xen", "MiB", "destroy", "verdict",
    ]  # fmt: skip
    assert lines[4]["Xen"] == "4.18.0 debug"


def test_columns_that_were_asked_for_are_shown_whatever_is_in_them(a_row: MakeRow) -> None:
    text = render([a_row(free=1.5)], table.Chosen(("free", "recreate", "toolstack")))
    assert text.splitlines()[0].split() == ["test", "toolstack", "free", "recreate"]


def test_bytes_that_were_there_to_the_last_look(a_row: MakeRow) -> None:
    (line,) = cells(render([a_row(exposure_over=9.0)]))
    assert line["exposure"] == "> 9.00"
    (line,) = cells(render([a_row(exposure_over=9.0), a_row(exposure=2.0)]))
    assert line["exposure"] == "2.00"


def test_the_table_is_no_wider_than_120_columns(a_row: MakeRow) -> None:
    long = "x.py::test_pages_that_are_held_by_dom0_are_scrubbed_when_they_are_let_go_of[crash-{}]"
    rows = [
        a_row(seconds, test=long.format(mode), variant=variant, clean=seconds, exposure=seconds)
        for seconds in (10.25, 20.25)
        for mode in ("idle", "busy")
        for variant in ("noscrub", "tasklet")
    ]
    text = render(rows)
    assert max(map(len, text.splitlines())) <= 120
    head, _, *body = text.splitlines()
    assert head.split()[0] == "test"
    # Told whole, once, above the lines of both Xens.
    name = "pages_that_are_held_by_dom0_are_scrubbed_when_they_are_let_go_of"
    both = ["noscrub", "tasklet"]
    assert [line.split()[0] for line in body] == [
        f"{name}[crash-idle]", *both, f"{name}[crash-busy]", *both
    ]  # fmt: skip


def test_names_that_do_not_fit_stand_above_their_own_lines(a_row: MakeRow) -> None:
    rows = [
        a_row(1.0, test=f"x.py::test_{name}", variant=variant, exposure=1.0)
        for name in ("a" * 50, "b") for variant in ("stock", "sync")
    ]  # fmt: skip
    body = render(rows, Chosen(width=80)).splitlines()[2:]
    assert [line.split()[0] for line in body] == [
        "a" * 50, "stock", "sync", "b", "stock", "sync"
    ]  # fmt: skip
    wide = render(rows, Chosen(every=True)).splitlines()[2:]
    assert [line.split()[0] for line in wide] == ["a" * 50] * 2 + ["b"] * 2


def test_nothing_measured_is_no_table() -> None:
    assert render([]) == ""


def test_columns_that_nothing_was_measured_for_are_left_out(a_row: MakeRow) -> None:
    (line,) = cells(render([a_row(2.0)]))
    assert list(line) == ["test", "MiB", "destroy", "verdict"]


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
    (line,) = cells(render(rows, EVERY))
    assert line["coverage"] == "99.10%"


def test_the_legend_has_a_line_for_each_column_of_figures() -> None:
    lines = table.legend()
    assert (
        "gone: destroy issued → Xen does not list the domain any more, not even as dying (s)"
        in lines
    )
    assert [line.split(":")[0] for line in lines] == [metric.column for metric in table.COLUMNS]
    assert table.UNITS.endswith(", probe in GiB/s")


def test_what_a_starved_host_took_is_marked(a_row: Callable[..., Row]) -> None:
    assert count([a_row(), a_row(too_starved=True)]) == "2~"
    assert count([a_row(too_starved=True, first_after_boot=True)]) == "*~"


def test_a_sample_has_a_column_of_its_own(a_row: MakeRow) -> None:
    assert "filled" not in render([a_row()])
    part = a_row(filled_bytes=1 << 26, filled_share=0.0625, fill_share=0.0625)
    lines = render([part, a_row()]).splitlines()
    assert lines[0].split()[:3] == ["test", "MiB", "filled"]
    assert "64.0 (6.250%)" in lines[2]
    # They are no repeats of each other.
    assert len(lines) == 4
