# SPDX-License-Identifier: MIT
"""Results for others, each read back by what reads that format."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from pytest_xenscrub.report.export import prose, series
from pytest_xenscrub.report.outcome import Outcome
from pytest_xenscrub.report.results import RunResults
from pytest_xenscrub.scrub.row import METRICS
from pytest_xenscrub.units import GIB

if TYPE_CHECKING:
    from collections.abc import Callable

    from prometheus_client import Metric

    from pytest_xenscrub.scrub.row import Row

    MakeRow = Callable[..., Row]

CLEAN = {
    "started": "2026-11-27T16:05:29+00:00", "status": 0, "judged": 2, "scenarios": 2,
    "frames_read": 512, "bytes_read": 2 << 20, "coverage": 0.999, "residue": 0, "not_judged": {},
}  # fmt: skip
HOSTILE = 'x.py::test_x[<script>|`"\\\n]'


def results(*rows: Row, **run: object) -> list[RunResults]:
    numbered = {f"{number}": row for number, row in enumerate(rows)}
    return [RunResults("", numbered, known=CLEAN | run)]


@pytest.fixture
def two(a_row: MakeRow) -> list[RunResults]:
    return results(
        a_row(1.0, clean=2.0, coverage=0.99, probe_bytes_per_second=2.0 * GIB),
        a_row(3.0, variant="sync"),
        a_row(5.0, variant="sync", verdict="residue"),
        residue=1,
        status=1,
    )


# -- what is said first ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("run", "said"),
    [
        ({}, "clean: judged 2 of 2 scenarios, 512 frames (2 MiB) read, coverage ≥ 99.90 %"),
        ({"residue": 1, "status": 1}, "RESIDUE: judged 2 of 2"),
        ({"status": 75}, "NOT CLEAN: "),
        ({"status": 1}, "NOT CLEAN: "),
        ({"judged": 0}, "NOTHING JUDGED: "),
        ({"judged": 0, "status": 75}, "NOTHING JUDGED: "),
        ({"judged": "many"}, "UNKNOWN: "),
        ({"status": None}, "UNKNOWN: "),
        ({"coverage": float("nan")}, "UNKNOWN: "),
        ({"not_judged": []}, "clean: "),
    ],
)
def test_a_run_is_clean_only_if_it_ended_well_and_judged(run: dict[str, object], said: str) -> None:
    (line,) = prose.headline(results(**run))
    assert line.startswith(said)


def test_a_run_that_was_cut_short_is_told(a_row: MakeRow) -> None:
    cut = [RunResults("", {"0": a_row()})]
    for render in (prose.to_text, prose.to_mail, prose.to_markdown):
        first = render(cut).splitlines()[0]
        assert "UNFINISHED" in first
        assert "clean" not in first


# -- for people --------------------------------------------------------------------------------


def test_text_has_tables_and_the_comparison(two: list[RunResults]) -> None:
    text = prose.to_text(two)
    assert text.startswith("RESIDUE: ")
    assert "compared with stock:" in text
    assert "emulated: emulated (TCG), Xen 4.17.5 debug=n (stock)" in text


def test_failures_are_told_before_tables_leaks_first(a_row: MakeRow) -> None:
    (run,) = results(a_row())
    run.tests = {
        "a::net": Outcome("a::net", "error", why="no network\nnext: look"),
        "a::leak[<b>]": Outcome("a::leak[<b>]", "failed", residue=True, why="RESIDUE: 4 frames"),
        "a::fine": Outcome("a::fine", "passed"),
        **{f"a::n{n}": Outcome(f"a::n{n}", "error") for n in range(30)},
    }
    for render in (prose.to_text, prose.to_mail, prose.to_markdown):
        text = render([run]).replace("*", "")
        order = ["leak", "RESIDUE: 4 frames", "ERROR a::net: no network", "12 more failures"]
        places = [text.index(word) for word in [*order, "destroyed"]]
        assert places == sorted(places)
        assert "a::fine" not in text
        assert "next: look" not in text
    assert "again: pytest a::net --xen-host=HOST" in prose.to_text([run])
    markdown = prose.to_markdown([run])
    assert "- **RESIDUE** a::leak\\[\\<b\\>\\]: RESIDUE: 4 frames  \n  again: `pytest " in markdown


def test_a_run_that_only_its_gate_failed_says_so(a_row: MakeRow) -> None:
    known = results(a_row(), status=1, faults=["worse: destroy of <b>"])
    for text in (prose.to_text(known), prose.to_mail(known)):
        assert "\n--xen-fail-if: worse: destroy of <b>\n" in text
    assert "\n- --xen-fail-if: worse: destroy of \\<b\\>\n" in prose.to_markdown(known)
    assert prose.faults(results(faults="none")) == []


def test_marks_beside_numbers_of_repeats_are_explained(a_row: MakeRow) -> None:
    known = results(a_row(first_after_boot=True, too_starved=True))
    for text in (prose.to_text(known), prose.to_markdown(known).replace("\\", "")):
        assert "\n* includes the first measurement after boot" in text
        assert "\n~ other work on this machine" in text


def test_the_control_is_not_what_others_are_compared_with(a_row: MakeRow) -> None:
    control = a_row(9.0, variant="noscrub", test="x.py::test_destroyed_guest[control]")
    text = prose.to_text(results(control, a_row(1.0), a_row(2.0, variant="sync")))
    assert "compared with stock:" in text


def test_a_mail_has_80_columns(two: list[RunResults], a_row: MakeRow) -> None:
    long = a_row(1.0, test="x.py::test_guest_that_is_destroyed_while_it_talks_leaves_nothing")
    slow = a_row(100.5, test=long.setting.test, variant="sync", exposure_over=1000.25)
    text = prose.to_mail(results(*two[0].rows.values(), long, slow))
    assert max(map(len, text.splitlines())) <= 80
    assert "> 1000.25" in text


def test_nothing_that_is_told_is_markup(a_row: MakeRow) -> None:
    text = prose.to_markdown(results(a_row(test=HOSTILE, host="<b>", build_id="**x**")))
    assert "<script>" not in text.replace("\\<script\\>", "")
    assert "<b>" not in text.replace("\\<b\\>", "")
    lines = [line.replace("\\|", "") for line in text.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in lines}) == 1


def test_a_markdown_table_has_as_many_cells_in_each_line(two: list[RunResults]) -> None:
    lines = [line for line in prose.to_markdown(two).splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in lines}) == 1
    assert "**RESIDUE**" in lines[-1]


def parsed(text: str) -> dict[str, Metric]:
    """By the parser of Prometheus's own library."""
    found = text_string_to_metric_families(text)  # type: ignore[no-untyped-call]
    return {family.name: family for family in found}


# -- for programs ------------------------------------------------------------------------------


def test_openmetrics(two: list[RunResults], a_row: MakeRow) -> None:
    hostile = a_row(4.0, test=HOSTILE)
    text = series.to_openmetrics(results(*two[0].rows.values(), hostile))
    families = parsed(text)
    destroy = families["xenscrub_destroy_seconds"]
    assert destroy.unit == "seconds"
    told = {(s.labels["test"], s.labels["variant"]): s.value for s in destroy.samples}
    assert told["destroyed_guest", "stock"] == 1.0
    assert told["destroyed_guest", "sync"] == 4.0
    assert 4.0 in told.values()
    clean = {s.labels["variant"]: s.value for s in families["xenscrub_clean"].samples[:2]}
    assert clean == {"stock": 1, "sync": 0}
    assert len(families) == len(METRICS) + 1
    assert families["xenscrub_coverage_ratio"].samples[0].value == 0.99


def test_nothing_proven_is_not_clean_in_openmetrics(a_row: MakeRow) -> None:
    text = series.to_openmetrics(results(a_row(verdict=None), a_row(verdict="unproven")))
    families = parsed(text)
    assert families["xenscrub_clean"].samples == []


def test_csv(two: list[RunResults]) -> None:
    rows = list(csv.DictReader(io.StringIO(series.to_csv(two))))
    assert [row["destroy"] for row in rows] == ["1.0", "3.0", "5.0"]
    assert rows[0]["memory_bytes"] == str(1 << 30)
    assert series.to_csv(results()) == "test\n"


def test_bmf(two: list[RunResults]) -> None:
    told = json.loads(series.to_bmf(two))
    assert told["destroyed_guest (sync, xl, 1024 MiB)"]["xenscrub_destroy_seconds"] == {
        "value": 4.0, "lower_value": 3.0, "upper_value": 5.0,
    }  # fmt: skip


def test_github_action_benchmark(two: list[RunResults]) -> None:
    told = {each["name"]: each for each in json.loads(series.to_github_action_benchmark(two))}
    sync = told["destroyed_guest (sync, xl, 1024 MiB): destroy"]
    assert sync == {
        "name": "destroyed_guest (sync, xl, 1024 MiB): destroy", "unit": "s", "value": 4.0,
        "range": "3-5",
    }  # fmt: skip
    assert not [name for name in told if name.endswith(("coverage", "probe_bytes_per_second"))]


def test_no_figure_hides_another_of_its_name(a_row: MakeRow) -> None:
    """Of two hosts, or two Xens of one variant, each has its own."""
    rows = [a_row(1.0), a_row(2.0, host="lab7"), a_row(3.0, xen="4.20.0"), a_row(4.0, debug=True)]
    rows.append(a_row(5.0, fill_share=0.01))
    told = json.loads(series.to_bmf(results(*rows)))
    values = [each["xenscrub_destroy_seconds"]["value"] for each in told.values()]
    assert sorted(values) == [1.0, 2.0, 3.0, 4.0, 5.0]
    benchmarks = json.loads(series.to_github_action_benchmark(results(*rows)))
    assert len({each["name"] for each in benchmarks}) == len(benchmarks) == 5
    destroy = parsed(series.to_openmetrics(results(*rows)))["xenscrub_destroy_seconds"]
    assert len({frozenset(sample.labels.items()) for sample in destroy.samples}) == 5


def test_timings_of_a_starved_host_are_compared_by_nobody(a_row: MakeRow) -> None:
    """Whoever keeps series would call them a regression; coverage and residue are as they are."""
    starved = a_row(90.0, too_starved=True, coverage=0.995)
    for render in (series.to_bmf, series.to_github_action_benchmark, series.to_openmetrics):
        assert "90.0" not in render(results(starved))
        assert "1.5" in render(results(starved, a_row(1.5)))
    assert "0.995" in series.to_openmetrics(results(starved))


def test_a_run_that_was_cut_short_tells_of_leaks(a_row: MakeRow) -> None:
    leaked = Outcome("a::leaked", "failed", "xen", residue=True)
    control = Outcome("a::control", "passed", residue=True)
    cut = RunResults("today", {"0": a_row()}, {"1": leaked, "2": control})
    assert prose.headline([cut])[0].startswith("RESIDUE in 1 tests; UNFINISHED: ")
    cut.known = {"status": "?"}
    assert prose.headline([cut])[0].startswith("RESIDUE in 1 tests; UNKNOWN: ")
