# SPDX-License-Identifier: MIT
from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pytest_xenscrub.report.profile import render_profiles, write_folded
from pytest_xenscrub.scrub.profile import Part, Profile

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytest_xenscrub.scrub.row import Row

    MakeRow = Callable[..., Row]

NOTHING = Part(0.0, 0, {})


def profile(part: Part, *, after: Part = NOTHING, symbols: str = "xen-syms") -> dict[str, object]:
    return Profile(symbols, 0.1, part, after).as_dict()


def scrubbing(pages: int) -> Part:
    """A second of two CPUs: 100 looks, 50 of them idle, 50 at Linux, `pages` at scrubbing."""
    stacks = {"Xen;clear_page_sse2": pages, "dom0 kernel": 50, "idle": 150 - pages}
    return Part(1.0, 100, stacks)


def cells(text: str) -> dict[str, list[str]]:
    found = [re.split(r"\s{2,}", line.strip()) for line in text.splitlines()]
    return {line[0]: line[1:] for line in found}


def test_shares_are_of_busy_time_and_the_difference_is_in_cpu_time(a_row: MakeRow) -> None:
    text = render_profiles([
        a_row(variant="sync", profile=profile(scrubbing(50))),
        a_row(variant="sync", profile=profile(scrubbing(100))),
        a_row(variant="stock", profile=profile(scrubbing(0))),
    ])  # fmt: skip
    lines = cells(text)
    assert lines["function"] == ["sync", "ms/GiB", "stock", "ms/GiB", "stock - sync"]
    assert lines["clear_page_sse2"] == ["60.0%", "750.0", "0.0%", "0.0", "-750.0"]
    assert lines["dom0 kernel"] == ["40.0%", "500.0", "100.0%", "500.0", "+0.0"]
    assert lines["(idle, of all)"] == ["37.5%", "750.0", "75.0%", "1500.0", "+750.0"]
    assert "sync: 2 destroys, 200 samples of the CPUs, 100 a second" in text
    assert "returned → watched" not in text


def test_what_is_seldom_is_one_line(a_row: MakeRow) -> None:
    rare = {f"Xen;rare_{n}": 1 for n in range(5)}
    part = Part(1.0, 505, {"Xen;put_page": 1000, **rare, "idle": 5})
    lines = cells(render_profiles([a_row(profile=profile(part))]))
    assert "rare_0" not in lines
    assert lines["(5 others)"][0] == "0.5%"


def test_both_parts_have_a_table(a_row: MakeRow) -> None:
    text = render_profiles([a_row(profile=profile(scrubbing(5), after=scrubbing(9)))])
    assert text.index("destroy issued → returned") < text.index("destroy returned → watched")


def test_without_symbols_that_is_said_plainly(a_row: MakeRow) -> None:
    part = Part(1.0, 100, {"Xen;(no symbol)": 200})
    text = render_profiles([a_row(variant="as-is", profile=profile(part, symbols=""))])
    assert "as-is: no symbols: Xen's functions are all (no symbol)" in text


def test_nothing_profiled_or_too_little_is_no_table(a_row: MakeRow) -> None:
    assert render_profiles([a_row()]) == ""
    text = render_profiles([a_row(profile=profile(Part(0.1, 10, {"idle": 20})))])
    assert "too few samples" in text


def test_folded_stacks_for_flame_graphs(a_row: MakeRow, tmp_path: Path) -> None:
    row = a_row(
        test="tests/test_x.py::test_it[stock-repeat1]",
        profile=profile(scrubbing(100), after=Part(0.1, 1, {"dom0 kernel": 1, "guests": 1})),
    )
    write_folded(row, tmp_path)
    write_folded(a_row(), tmp_path)
    (file,) = tmp_path.iterdir()
    assert file.name == "test_it-stock-repeat1-#0.folded"
    assert file.read_text().splitlines() == [
        "destroy;Xen;clear_page_sse2 100",
        "destroy;dom0 kernel 50",
        "destroy;idle 50",
        "after;dom0 kernel 1",
        "after;guests 1",
    ]
