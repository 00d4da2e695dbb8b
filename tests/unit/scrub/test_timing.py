# SPDX-License-Identifier: MIT
"""Rows: from moments to figures, and there and back again."""

from __future__ import annotations

import dataclasses
import json
from types import SimpleNamespace
from typing import Any

import pytest
from pyroaring import BitMap64

from pytest_xenscrub.dom0.answers import Reclaim
from pytest_xenscrub.guest.events import Filled, Resumed
from pytest_xenscrub.guest.guest import Ended
from pytest_xenscrub.guest.sample import Sample
from pytest_xenscrub.outside.exposure import measure
from pytest_xenscrub.report.results import as_properties, rows_of
from pytest_xenscrub.scrub.row import Row, Setting, row_from
from pytest_xenscrub.scrub.timing import Timings
from pytest_xenscrub.scrub.verdict import Verdict

SETTING = Setting(
    "tests/test_x.py::test_it[stock-repeat1]", "emulated", "emulated (TCG)", "xl", "stock",
    "4.17.5", debug=False, build_id="c0ffee",
)  # fmt: skip


WHOLE = Filled(pages=9, own=1, ns=1_500_000_000, vcpus=2)


def ended(how: str = "destroy", *, filled: Filled | None = WHOLE, **moments: Any) -> Ended:
    """A guest that was asked to end at 100 s, on dom0's clock."""
    known: dict[str, Any] = {
        "issued": 100.0, "returned": 101.0, "gone": 102.5, "free": 103.0, "clean": 104.0,
        "command": None, "samples": [], "backlog": [(103.1, 4096), (104.0, 0)],
    }  # fmt: skip
    guest: Any = SimpleNamespace(
        memory_bytes=1 << 30,
        config=SimpleNamespace(vcpus=2),
        created=SimpleNamespace(seconds=0.5, returned=110.0),
        last=lambda kind: filled if kind is Filled else None,
    )
    return Ended(guest, how, Reclaim(**{**known, **moments}))


def test_moments_become_times_since_the_end_was_asked_for() -> None:
    row = Timings(SETTING).record(ended())
    assert (row.create, row.fill) == (0.5, 1.5)
    assert (row.destroy, row.gone, row.free, row.clean) == (1.0, 2.5, 3.0, 4.0)
    assert (row.how, row.memory_bytes, row.vcpus, row.backlog_pages) == (
        "destroy",
        1 << 30,
        2,
        4096,
    )


def test_what_was_not_seen_has_no_time() -> None:
    row = Timings(SETTING).record(
        ended("crash", filled=None, returned=None, clean=None, backlog=[])
    )
    assert row.fill is row.destroy is row.clean is row.backlog_pages is None
    assert (row.how, row.gone) == ("crash", 2.5)


def test_recreate_counts_from_the_toolstacks_return() -> None:
    timings = Timings(SETTING)
    end = ended()
    row = timings.record(end)
    timings.recreated(end, ended().guest)
    assert row.recreate == 9.0


def test_a_downtime_belongs_to_the_last_row() -> None:
    timings = Timings(SETTING)
    timings.resumed(Resumed(cancelled=False, ns=1))
    timings.record(ended("destroy"))
    timings.record(ended("save", returned=None))
    timings.resumed(Resumed(cancelled=False, ns=2_500_000_000))
    assert [row.downtime for row in timings.rows] == [None, 2.5]


def test_a_verdict_belongs_to_the_rows_that_have_none() -> None:
    timings = Timings(SETTING)
    read_before = timings.record(ended())
    timings.judge(Verdict(BitMap64([1]), BitMap64([1]), BitMap64()))
    first, second = timings.record(ended()), timings.record(ended())
    frames = BitMap64(range(1000))
    dirty = BitMap64([5, 6, 5000])
    timings.judge(
        Verdict(
            frames, frames - dirty, dirty, pattern_frames=BitMap64([1, 2, 3]), seconds=1.0,
            differences=("probe-2 is wrong", "so is probe-3"),
        )
    )  # fmt: skip
    assert (read_before.differences, first.differences) == (
        None,
        "probe-2 is wrong; so is probe-3",
    )
    assert (read_before.verdict, first.verdict) == ("clean", "residue")
    assert (second.verdict, second.coverage) == ("residue", 1.0)
    assert (second.residue_frames, second.pattern_pages) == (2, 3)
    assert second.probe_bytes_per_second == 1001 * 4096


def test_a_verdict_without_a_row_is_ignored() -> None:
    timings = Timings(SETTING)
    timings.judge(Verdict(BitMap64(), BitMap64(), BitMap64()))
    assert timings.rows == []


def test_each_change_of_a_row_is_told() -> None:
    told: list[tuple[str, str | None]] = []
    timings = Timings(SETTING, lambda row: told.append((row.id, row.verdict)))
    end = ended()
    timings.record(end)
    timings.recreated(end, end.guest)
    timings.judge(Verdict(BitMap64([1]), BitMap64([1]), BitMap64()))
    timings.record(ended())
    first = f"{SETTING.test}#0"
    assert told == [(first, None), (first, None), (first, "clean"), (f"{SETTING.test}#1", None)]


def test_what_was_seen_of_its_bytes_comes_when_the_test_ends() -> None:
    seen = measure([(100.0, 1.0), (100.2, 0.5), (100.4, 0.0)], 100.0, 1 << 30, 0.01)
    still = measure([(100.0, 1.0), (103.0, 0.25)], 100.0, 1 << 30, 0.01)
    told: list[str] = []
    timings = Timings(SETTING, lambda row: told.append(row.id))
    for exposure in (seen, still, None):
        recorder: Any = exposure and SimpleNamespace(finish=lambda exposure=exposure: exposure)
        timings.record(dataclasses.replace(ended(), recorder=recorder))
    assert [row.exposure for row in timings.rows] == [None, None, None]
    timings.close()
    timings.close()
    first, second, third = timings.rows
    assert (first.exposure, first.exposure_half, first.exposure_over) == (0.4, 0.2, None)
    assert first.exposure_curve == [[0.0, 1.0], [0.2, 0.5], [0.4, 0.0]]
    assert first.exposed_byte_seconds == pytest.approx(0.2 * (1 << 30))
    assert (second.exposure, second.exposure_half, second.exposure_over) == (None, 3.0, 3.0)
    assert (third.exposure_curve, third.exposure_over) == (None, None)
    assert len(told) == 5
    assert rows_of(SETTING.test, as_properties(timings.rows)) == timings.rows


def two_rows() -> list[Row]:
    timings = Timings(SETTING)
    timings.record(ended())
    timings.judge(Verdict(BitMap64([1]), BitMap64([1]), BitMap64(), seconds=0.25))
    timings.record(ended("crash", filled=None, returned=None, clean=None))
    return timings.rows


def test_rows_survive_the_way_through_properties() -> None:
    rows = two_rows()
    assert rows_of(SETTING.test, as_properties(rows)) == rows


def test_rows_survive_the_way_through_another_process() -> None:
    rows = two_rows()
    carried = json.loads(json.dumps(as_properties(rows)))
    assert rows_of(SETTING.test, carried) == rows


def test_rows_survive_the_way_through_a_file() -> None:
    for row in two_rows():
        assert row_from(json.loads(json.dumps({"at": 1.0, **row.as_dict()}))) == row


def test_other_properties_are_passed_over() -> None:
    others = [("seed", 1), ("xen[x].destroy", 1), ("xen[0].destroy.more", 1)]
    assert rows_of(SETTING.test, [*others, *as_properties(two_rows())]) == two_rows()
    assert rows_of(SETTING.test, others) == []


def test_what_was_not_measured_is_no_property() -> None:
    names = [name for name, _ in as_properties(two_rows())]
    assert "xen[0].destroy" in names
    assert "xen[1].destroy" not in names
    assert not any(name.endswith((".test", ".number")) for name in names)


@pytest.mark.parametrize("key", ["test", "host", "variant", "destroy", "memory_bytes", "verdict"])
def test_a_row_is_flat(key: str) -> None:
    assert key in two_rows()[0].as_dict()


# -- a starved host ----------------------------------------------------------------------------


@pytest.mark.parametrize(("share", "marked"), [(0.1, False), (0.3, True)])
def test_rows_of_a_starved_host_are_marked(
    monkeypatch: pytest.MonkeyPatch, share: float, *, marked: bool
) -> None:
    now = [50.0]
    monkeypatch.setattr("pytest_xenscrub.scrub.timing.time.monotonic", lambda: now[0])
    timings = Timings(SETTING, starved_seconds=lambda: share * now[0], max_starvation=0.2)
    now[0] += 10
    row = timings.record(ended())
    assert row.starved == pytest.approx(share)
    assert row.too_starved is marked
    again = rows_of(SETTING.test, as_properties([row]))[0]
    assert (again.starved, again.too_starved) == (row.starved, marked)


def test_a_host_that_starves_after_a_row_marks_it_too_and_that_is_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, starved, kept = [0.0], [0.0], []
    monkeypatch.setattr("pytest_xenscrub.scrub.timing.time.monotonic", lambda: now[0])
    timings = Timings(
        SETTING, lambda row: kept.append(row.too_starved), starved_seconds=lambda: starved[0]
    )
    now[0] = 10.0
    timings.record(ended())
    now[0], starved[0] = 20.0, 9.0
    timings.close()
    assert kept == [False, True]


def test_a_row_says_what_was_filled_of_a_sample() -> None:
    part = Filled(pages=64, own=6, ns=5, vcpus=2, left=930, sample=Sample(1, 1 << 28, 0))
    timings = Timings(SETTING)
    row = timings.record(ended(filled=part))
    assert (row.filled_bytes, row.filled_share) == (64 * 4096, 0.064)
    victim = BitMap64(range(1000))
    timings.judge(Verdict(victim, victim, BitMap64(), unfilled=BitMap64(range(64, 1000))))
    assert (row.coverage, row.verdict) == (1.0, "clean")
    assert row.found_share == pytest.approx(1 - 0.001 ** (1 / 32))


def test_a_row_of_a_guest_that_filled_all_says_nothing_of_a_sample() -> None:
    timings = Timings(SETTING)
    row = timings.record(ended())
    timings.judge(Verdict(BitMap64([1]), BitMap64([1]), BitMap64()))
    assert (row.filled_bytes, row.filled_share, row.found_share) == (None, None, None)


def test_a_row_has_the_longest_stall_and_is_not_written_again_for_small_changes() -> None:
    stalled, kept = [0.0], []
    timings = Timings(
        SETTING, lambda row: kept.append(row.stall), stalled_seconds=lambda: stalled[0]
    )  # fmt: skip
    timings.record(ended())
    stalled[0] = 2.5
    timings.close()
    stalled[0] = 2.51
    timings.close()
    assert kept == [None, 2.5]


def test_the_last_row_has_the_times_of_small_guests() -> None:
    timings = Timings(SETTING)
    rows = [timings.record(ended()), timings.record(ended())]
    timings.beside(0.5, 0.25)
    assert [(row.other_create, row.other_destroy) for row in rows] == [(None, None), (0.5, 0.25)]


def test_time_in_which_the_host_was_stopped_is_recorded_and_is_not_starvation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, stood, kept = [0.0], [3.0], []
    monkeypatch.setattr("pytest_xenscrub.scrub.timing.time.monotonic", lambda: now[0])
    timings = Timings(
        SETTING, lambda row: kept.append(row.stood), starved_seconds=lambda: now[0] / 10,
        stood_seconds=lambda: stood[0], max_starvation=0.25,
    )  # fmt: skip
    now[0] = 10.0
    row = timings.record(ended())
    assert row.stood is None
    now[0], stood[0] = 20.0, 13.0
    timings.close()
    assert kept == [None, 10.0]
    assert row.starved == pytest.approx(0.2)
    assert not row.too_starved
