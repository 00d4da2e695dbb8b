# SPDX-License-Identifier: MIT
from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from pyroaring import BitMap64

from pytest_xenscrub.report.frame_map import frame_map
from pytest_xenscrub.report.plots import destroy, draw, exposure, frames, sizes
from pytest_xenscrub.report.plots.style import apart, looks
from pytest_xenscrub.scrub.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from matplotlib.axes import Axes

    from pytest_xenscrub.scrub.row import Row

    MakeRow = Callable[..., Row]

GONE = [[0.0, 1.0], [0.2, 1.0], [0.6, 0.0]]
STAYS = [[0.0, 1.0], [5.0, 1.0]]
SERIES = {
    "free_bytes": [(0.0, 1 << 30), (0.3, 3 << 29), (0.5, 1 << 31)],
    "backlog_pages": [(-0.1, 0), (0.3, 1 << 17), (0.7, 0)],
}


@pytest.fixture
def axes() -> Axes:
    return Figure().subplots()


def legend(axes: Axes) -> list[str]:
    shown = axes.get_legend()
    assert shown is not None
    return [text.get_text() for text in shown.get_texts()]


def test_a_curve_for_each_variant_and_when_the_last_byte_was_gone(
    axes: Axes, a_row: MakeRow
) -> None:
    rows = [
        a_row(0.5, variant="stock", exposure=gone, exposure_curve=GONE) for gone in (0.5, 0.7, 0.6)
    ] + [a_row(0.5, variant="noscrub", exposure_curve=STAYS, exposure_over=9.0)]
    exposure.paint(axes, rows)
    assert legend(axes) == ["stock: gone after 0.60 s", "noscrub: not gone after 9.00 s"]
    # A Xen on which they stay for ever does not squeeze the others into a corner.
    assert axes.get_xlim()[1] == pytest.approx(0.7 * 1.12)
    assert "s" in axes.get_xlabel()


def test_one_repeat_in_which_bytes_stayed_is_told(axes: Axes, a_row: MakeRow) -> None:
    rows = [a_row(exposure=0.6, exposure_curve=GONE), a_row(exposure_curve=STAYS)]
    exposure.paint(axes, rows)
    assert legend(axes) == ["stock: not gone in 1 of 2"]


def test_a_course_is_in_gib_since_destroy_was_issued(axes: Axes, a_row: MakeRow) -> None:
    destroy.paint(axes, a_row(0.5, series=SERIES, exposure_curve=GONE, exposure=0.6, clean=0.7))
    free, backlog, held = (line.get_xydata() for line in axes.get_lines()[:3])
    assert np.asarray(free)[-2:].tolist() == [[0.5, 1.0], [0.7, 1.0]]
    assert np.asarray(backlog).max(axis=0).tolist() == [0.7, 0.5]
    assert np.asarray(held)[0].tolist() == [0.0, 1.0]
    assert {text.get_text() for text in axes.texts} == {"destroy", "exposure", "clean"}


def test_the_line_through_sizes_says_what_a_gib_takes(axes: Axes, a_row: MakeRow) -> None:
    rows = [a_row(0.1 + 0.25 * gib, memory_bytes=gib << 30) for gib in (1, 2, 3, 4)]
    assert sizes.worth_it(rows)
    assert not sizes.worth_it(rows[:3])
    sizes.paint(axes, rows)
    assert legend(axes) == ["stock: 0.10 s + 0.25 s/GiB (R² 1.000)"]


def test_a_pixel_shows_the_worst_of_its_frames(axes: Axes) -> None:
    verdict = Verdict(
        victim=BitMap64(range(0, 400)),
        clean_frames=BitMap64(range(100, 300)) | BitMap64(range(70_000, 70_010)),
        residue_frames=BitMap64([50, 60]),
        given_back=BitMap64([60]),
    )
    shown = frame_map(verdict, "a test on stock")
    assert shown.frames_per_pixel == 3
    assert shown.counts == (10, 200, 198, 1)
    line = shown.pixels[0]
    assert [line[mfn // 3] for mfn in (0, 50, 150, 350, 600)] == [3, 4, 2, 3, 0]
    assert shown.pixels.flat[70_001 // 3] == 1
    frames.paint(axes, shown)
    assert axes.get_title(loc="left") + axes.get_title() == "a test on stock: RESIDUE"
    assert "residue: 1" in legend(axes)


def test_a_map_is_the_same_whether_it_is_made_at_once_or_in_parts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    verdict = Verdict(
        victim=BitMap64(range(0, 9000, 7)),
        clean_frames=BitMap64(range(3000, 70_000, 3)),
        residue_frames=BitMap64([50, 66_000, 69_999]),
    )
    whole = frame_map(verdict, "a test")
    monkeypatch.setattr("pytest_xenscrub.report.frame_map._CHUNK", 2000)
    parts = frame_map(verdict, "a test")
    assert parts.pixels.tolist() == whole.pixels.tolist()
    assert set(whole.pixels.flat) == {0, 1, 2, 3, 4}


def test_a_verdict_on_nothing_has_a_map(axes: Axes) -> None:
    frames.paint(axes, frame_map(Verdict(BitMap64(), BitMap64(), BitMap64()), "nothing"))


def test_variants_keep_their_colours_and_strangers_get_their_own() -> None:
    known = looks(["mine", "sync", "theirs"])
    assert known["sync"] == looks(["sync"])["sync"]
    assert len({look["color"] for look in known.values()}) == 3


def test_files_of_all_charts_and_nothing_of_matplotlibs_is_changed(
    tmp_path: Path, a_row: MakeRow
) -> None:
    before = mpl.rcParams.copy()
    shown = frame_map(Verdict(BitMap64([1]), BitMap64([1]), BitMap64()), "a test")
    row = a_row(exposure=0.6, exposure_curve=GONE, series=SERIES)
    draw([row], {"stock": shown}, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "destroy-stock.png", "destroy-stock.svg",
        "exposure.png", "exposure.svg",
        "frames-stock.png", "frames-stock.svg",
    ]  # fmt: skip
    assert all(path.stat().st_size > 1000 for path in tmp_path.iterdir())
    assert mpl.rcParams.copy() == before


def test_tests_do_not_share_a_chart(tmp_path: Path, a_row: MakeRow) -> None:
    tests = ("tests/test_x.py::test_one", "tests/test_x.py::test_two[stock]")
    draw([a_row(test=test, exposure_curve=GONE) for test in tests], {}, tmp_path)
    assert {path.stem for path in tmp_path.iterdir()} == {"exposure-one", "exposure-two"}


def test_the_first_end_after_a_boot_is_left_out_where_there_are_others(
    tmp_path: Path, a_row: MakeRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[Row] = []
    monkeypatch.setattr(exposure, "paint", lambda _, rows: shown.extend(rows))
    cold = a_row(first_after_boot=True, exposure_curve=STAYS)
    alone = a_row(variant="sync", first_after_boot=True, exposure_curve=GONE)
    warm = a_row(exposure_curve=GONE)
    draw([cold, warm, alone], {}, tmp_path)
    assert shown == [warm, alone]


def test_without_data_there_are_no_charts(tmp_path: Path, a_row: MakeRow) -> None:
    assert draw([a_row()], {}, tmp_path) == []


def test_guests_toolstacks_and_hosts_have_lines_of_their_own(axes: Axes, a_row: MakeRow) -> None:
    """A median over PV and PVH guests is of neither."""
    rows = [
        a_row(exposure=gone, exposure_curve=GONE, guest_type=kind, host=host)
        for gone, kind, host in ((0.5, "pv", "lab7"), (0.7, "pvh", "lab7"), (0.6, "pv", "lab8"))
    ]
    exposure.paint(axes, rows)
    assert legend(axes) == [
        "stock, pv, lab7: gone after 0.50 s", "stock, pvh, lab7: gone after 0.70 s",
        "stock, pv, lab8: gone after 0.60 s",
    ]  # fmt: skip
    known = looks(apart(rows))
    assert len({look["color"] for look in known.values()}) == 1, "it is one Xen"
    assert len({str(look["linestyle"]) for look in known.values()}) == 3


def test_a_name_is_no_formula_and_none_is_left_out(tmp_path: Path, a_row: MakeRow) -> None:
    """As of a patch's file: matplotlib reads $ as mathematics, and hides _ in legends."""
    hostile = "_$\\frac{"
    shown = frame_map(Verdict(BitMap64([1]), BitMap64([1]), BitMap64()), hostile)
    row = a_row(variant=hostile, exposure=0.6, exposure_curve=GONE, series=SERIES)
    assert draw([row], {hostile: shown}, tmp_path)
    assert list(apart([row])) == [f" {hostile}"]
