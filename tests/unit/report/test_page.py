# SPDX-License-Identifier: MIT
"""The page of results: whole by itself, in a reader's order, with no markup of others."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from pyroaring import BitMap64

from pytest_xenscrub.errors import ConfigurationError
from pytest_xenscrub.report.frame_map import frame_map
from pytest_xenscrub.report.outcome import Outcome
from pytest_xenscrub.report.results import ResultsFile, RunResults, read_runs
from pytest_xenscrub.report.run_page import LogFiles
from pytest_xenscrub.scrub.verdict import Verdict

pytest.importorskip("jinja2")
from pages import Page

from pytest_xenscrub.report.page import to_html

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytest_xenscrub.scrub.row import Row

    MakeRow = Callable[..., Row]

KNOWN = {
    "status": 1, "judged": 2, "scenarios": 2, "frames_read": 512, "coverage": 0.999, "residue": 1,
    "not_judged": {},
}  # fmt: skip
EVIL = "<script>alert(1)</script><img src=http://example.org/x onerror=alert(2)>"


def run(*rows: Row, started: str = "2026-11-27", **tests: Outcome) -> RunResults:
    return RunResults(started, {str(n): row for n, row in enumerate(rows)}, tests, KNOWN)


def test_it_is_whole_by_itself(a_row: MakeRow) -> None:
    curve = [[0.0, 1.0], [1.0, 0.5], [2.0, 0.0]]
    rows = [a_row(1.0, exposure_curve=curve), a_row(2.0, variant="sync", exposure_curve=curve)]
    page = Page(to_html([run(*rows)]))
    assert page.links
    assert all(link.startswith("#") and link[1:] in page.ids for link in page.links)
    assert len(page.ids) == len(set(page.ids))
    assert "figure" in page.tags
    assert "Compared with stock" in page.text


def test_nothing_that_is_told_is_markup(a_row: MakeRow) -> None:
    row = a_row(test=f"x.py::test_x[{EVIL}]", host=EVIL, build_id=EVIL, command_line=EVIL)
    end = Outcome(EVIL, "failed", EVIL, residue=True, why=f"the console said {EVIL}")
    text = to_html([run(row, started=EVIL, evil=end), run(a_row(host="lab"))])
    page = Page(text)
    assert page.tags.count("script") == 1
    assert "img" not in page.tags
    assert f"the console said {EVIL}" in page.text


def test_leaks_come_first(a_row: MakeRow) -> None:
    broke = Outcome("a::broke", "error", "infrastructure", why="no network")
    leaked = Outcome("a::leaked", "failed", "xen", residue=True, why="RESIDUE: 4 frames")
    skipped = Outcome("a::skipped", "skipped", why="no NUMA nodes")
    text = to_html([run(a_row(), a=broke, b=skipped, c=leaked)])
    order = ["RESIDUE: judged 2", "a::leaked", "RESIDUE: 4 frames", "a::broke", "no NUMA nodes"]
    places = [text.index(word, text.index("<body>")) for word in order]
    assert places == sorted(places)
    assert "pytest a::leaked --xen-host=HOST" in text


def test_history_of_several_runs(a_row: MakeRow) -> None:
    runs = [run(a_row(1.0 + n / 10), started=f"2026-11-{n + 10}") for n in range(5)]
    page = Page(to_html(runs))
    assert "polyline" in page.tags
    assert page.tags.count("circle") == 5
    assert "1.40" in page.text
    assert "History" not in Page(to_html(runs[:1])).text


def test_history_folds_what_never_changed(a_row: MakeRow) -> None:
    runs = [run(a_row(1.0 + n / 10, coverage=1.0), started=f"2026-11-{n + 10}") for n in range(3)]
    page = Page(to_html(runs))
    assert page.tags.count("polyline") == 1
    assert "1 figure that never changed" in page.text
    still = Page(to_html([run(a_row(1.0), started=f"2026-11-{n + 10}") for n in range(3)]))
    assert "polyline" not in still.tags
    assert "1 figure that never changed" in still.text


def test_a_run_without_rows() -> None:
    broke = Outcome("a::broke", "error", "infrastructure", why="no network")
    assert "no network" in Page(to_html([run(broke=broke)])).text


def test_thirty_nights_of_forty_rows_are_less_than_a_megabyte(a_row: MakeRow) -> None:
    runs = [
        run(*(a_row(1.0 + n / 100, test=f"x.py::test_{m}") for m in range(40)), started=f"n{n:02}")
        for n in range(30)
    ]
    assert len(to_html(runs)) < 1 << 20


def test_a_thousand_failures_are_less_than_a_megabyte_and_none_is_hidden(a_row: MakeRow) -> None:
    tests = {
        f"a::t{n}": Outcome(f"a::t{n}", "failed", "xen", why=f"residue {n}\n" + "x" * 8000)
        for n in range(1000)
    }
    curve = [[0.0, 1.0], [1.0, 0.0]]
    rows = [
        a_row(1.0, test=f"x.py::test_{n}[{v}]", variant=v, exposure_curve=curve)
        for n in range(300) for v in ("stock", "sync")
    ]  # fmt: skip
    text = to_html([RunResults("now", {row.id: row for row in rows}, tests, KNOWN)])
    assert len(text.encode()) < 1_000_000
    shown = text.count("fault: xen")
    assert f"{1000 - shown} more failures are in the results" in text
    assert "xxx…" in text


def test_slower_and_more_than_noise_comes_first(a_row: MakeRow) -> None:
    def night(destroy: float, clean: float, *, started: str) -> RunResults:
        return run(
            *(a_row(destroy + n / 100, clean=clean + n, started=started) for n in range(6)),
            started=started,
        )

    text = Page(to_html([night(1.0, 9.0, started="1"), night(1.2, 9.5, started="2")])).text
    assert "1 of 2 figures are worse by more than noise." in text
    assert text.index("worse, more than noise") < text.index("worse, within noise")
    assert "(1.00-1.05)" in text
    text = Page(to_html([night(1.2, 9.5, started="1"), night(1.0, 9.0, started="2")])).text
    assert "Of 2 figures none is worse by more than noise." in text
    assert "better, more than noise" in text


def test_marks_are_explained(a_row: MakeRow) -> None:
    text = Page(to_html([run(a_row(first_after_boot=True, total_bytes=3 << 30))])).text
    assert "* includes the first measurement after boot" in text
    assert "~ this machine" not in text
    assert "3.00 GiB" in text


def test_the_run_before_is_one_that_measured_the_same(a_row: MakeRow) -> None:
    same = run(a_row(1.0, started="1"), started="1")
    other = run(a_row(1.0, test="x.py::test_other", started="2"), started="2")
    now = run(a_row(1.5, started="3"), started="3")
    assert "worse, too few repeats to tell" in Page(to_html([same, other, now])).text
    text = Page(to_html([other, now])).text
    assert "No figure could be compared." in text
    assert "not compared: destroyed_guest (xl, stock, 1024 MiB): not measured" in text


def test_what_a_starved_host_took_is_not_compared(a_row: MakeRow) -> None:
    starved = run(a_row(9.0, too_starved=True, started="2"), started="2")
    text = Page(to_html([run(a_row(1.0, started="1"), started="1"), starved])).text
    assert "No figure could be compared." in text


def test_maps_of_memory_are_kept_in_results(tmp_path: Path) -> None:
    verdict = Verdict(
        victim=BitMap64(range(400)), clean_frames=BitMap64(range(100, 70_000)),
        residue_frames=BitMap64([50]), outside_residue=BitMap64([60]),
    )  # fmt: skip
    shown = frame_map(verdict, "a test on <stock>")
    assert shown.counts[-1] == 2
    ResultsFile(tmp_path / "r").append_map("stock", shown, "today")
    ResultsFile(tmp_path / "r").append_run("run", {**KNOWN, "started": "today"})
    (known,) = read_runs(tmp_path / "r")
    kept = known.maps["stock"]
    assert (kept.title, kept.state, kept.counts) == (shown.title, "residue", shown.counts)
    assert kept.pixels.tolist() == shown.pixels.tolist()
    page = to_html([known])
    assert "map of memory: stock" in page
    Page(page)


@pytest.mark.parametrize(
    "changed", [{"pixels": "eJw="}, {"pixels": "!"}, {"counts": [1]}, {"frames_per_pixel": 0}]
)
def test_an_invalid_map_is_not_a_result(tmp_path: Path, changed: dict[str, object]) -> None:
    shown = frame_map(Verdict(BitMap64([1]), BitMap64([1]), BitMap64()), "a test").as_dict()
    line = {"fit": None, "started": "today", "variant": "stock", "map": {**shown, **changed}}
    (tmp_path / "r").write_text(json.dumps(line))
    with pytest.raises(ConfigurationError, match="no result"):
        read_runs(tmp_path / "r")


def test_links_lead_to_logs_that_are_there(tmp_path: Path) -> None:
    (tmp_path / "logs" / "a_leaked").mkdir(parents=True)
    (tmp_path / "logs" / "a_leaked" / "victim:1.console").touch()
    files = LogFiles(tmp_path / "logs", tmp_path / "out" / "page.html")
    assert files.of("a::leaked") == [("victim:1.console", "../logs/a_leaked/victim%3A1.console")]
    assert files.of("a::other") == []
    assert LogFiles(None, tmp_path / "page.html").of("a::leaked") == []
