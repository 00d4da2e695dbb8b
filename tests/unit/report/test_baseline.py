# SPDX-License-Identifier: MIT
"""An earlier run: what is compared with it, what is not, and that the gate shuts on the latter."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from pytest_xenscrub.errors import ConfigurationError
from pytest_xenscrub.report.baseline import compare_runs, render_baseline
from pytest_xenscrub.report.gate import left_out, parse_limit, verdicts, within_noise
from pytest_xenscrub.report.results import ResultsFile, read_results

from .conftest import EVERY

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytest_xenscrub.scrub.row import Row

    MakeRow = Callable[..., Row]


def faults(then: list[Row], now: list[Row], *limits: str) -> list[str]:
    return verdicts([parse_limit(limit) for limit in limits], compare_runs(then, now))


# -- what is compared --------------------------------------------------------------------------


def test_the_same_is_compared(a_row: MakeRow) -> None:
    then = [a_row(1.0), a_row(3.0), a_row(9.0, test="x.py::test_other")]
    now = [a_row(4.0, free=1.0), a_row(8.0, test="x.py::test_other")]
    comparison = compare_runs(then, now)
    assert comparison.mismatches == []
    text = render_baseline(comparison, EVERY)
    lines = [re.split(r"\s{2,}", line) for line in text.splitlines()]
    assert lines[0] == ["test", "toolstack", "variant", "MiB", "n", "destroy"]
    assert lines[2] == ["destroyed_guest", "xl", "stock", "1024", "2, 1", "4.00 2.00x"]
    assert lines[3] == ["other", "xl", "stock", "1024", "1, 1", "8.00 0.89x"]


def test_another_build_of_xen_is_what_is_compared(a_row: MakeRow) -> None:
    comparison = compare_runs([a_row(1.0)], [a_row(1.0, xen="4.18.0", build_id="f00")])
    assert len(comparison.pairs) == 1


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"host": "lab7"}, "host: emulated then, lab7 now"),
        ({"kind": "emulated (KVM)"}, "kind of host: emulated (TCG) then, emulated (KVM) now"),
        ({"total_bytes": 4 << 30}, "memory of the host: 0 MiB then, 4.00 GiB now"),
        ({"cpus": 4}, "CPUs of the host: 0 then, 4 now"),
        ({"cpu_model": "a CPU"}, "CPU model of the host: none then, a CPU now"),
        ({"emulated_on": "2 x a CPU"}, "machine that emulates the host: none then, 2 x a CPU now"),
        ({"debug": True}, "debug build: no then, yes now"),
        ({"config": "DEBUG=y"}, "Kconfig options: none then, DEBUG=y now"),
        ({"command_line": "bootscrub=1"}, "boot options of Xen: none then, bootscrub=1 now"),
        (
            {"memory_bytes": 2 << 30},
            "destroyed_guest (xl, stock, 2048 MiB): the guest had 1.00 GiB then",
        ),
        ({"vcpus": 8}, "destroyed_guest (xl, stock, 1024 MiB): the guest had 2 vCPUs then, 8 now"),
        (
            {"variant": "sync"},
            "destroyed_guest (xl, sync, 1024 MiB): not measured in the earlier run",
        ),
    ],
)
def test_anything_else_is_not_and_says_why_in_one_line(
    a_row: MakeRow, changed: dict[str, Any], said: str
) -> None:
    then = [a_row(1.0), a_row(1.0, test="x.py::test_other")]
    now = [a_row(1.0, **changed)]
    comparison = compare_runs(then, now)
    assert (comparison.pairs, comparison.mismatches) == ([], [said])
    assert render_baseline(comparison) == ""
    assert faults(then, now, "destroy:median:10%") == [
        f"not compared: {said}",
        "not compared: destroy median: not measured in any test of both runs",
    ]


def test_what_differs_for_all_is_said_once(a_row: MakeRow) -> None:
    names = ("x.py::test_one", "x.py::test_two")
    then = [a_row(1.0, test=name) for name in names]
    now = [a_row(1.0, test=name, cpus=4) for name in names]
    assert compare_runs(then, now).mismatches == ["CPUs of the host: 0 then, 4 now"]


def test_a_few_pages_more_are_the_same_size(a_row: MakeRow) -> None:
    then = [a_row(1.0, memory_bytes=(1 << 30) - (1 << 20)), a_row(5.0, memory_bytes=1 << 28)]
    (pair,) = compare_runs(then, [a_row(1.0)]).pairs
    assert pair.then[0].destroy == 1.0


# -- the gate ----------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", ["destroy:median:10%", "destroy:min:9%", "destroy:max:0.5%"])
def test_within_the_limit(a_row: MakeRow, limit: str) -> None:
    then = [a_row(1.0), a_row(2.0), a_row(3.0)]
    assert faults(then, [a_row(1.08), a_row(2.19), a_row(3.01)], limit) == []


def test_a_regression_says_of_what_and_by_how_much(a_row: MakeRow) -> None:
    then = [a_row(2.0), a_row(9.0, test="x.py::test_other")]
    now = [a_row(2.5), a_row(9.0, test="x.py::test_other")]
    assert faults(then, now, "destroy:median:10%") == [
        "worse: destroyed_guest (xl, stock, 1024 MiB): destroy median: 2.00 then, 2.50 s now:"
        " 25.0% more, and 10.0% are allowed; 1 and 1 repeats are too few to tell that from noise"
        " (5 and 5 could), so the limit alone decides"
    ]


def repeats(a_row: MakeRow, *seconds: float) -> list[Row]:
    return [a_row(each) for each in seconds]


def test_a_regression_that_is_more_than_noise_fails(a_row: MakeRow) -> None:
    then = repeats(a_row, 1.0, 1.1, 1.05, 1.02, 1.2)
    now = repeats(a_row, 1.3, 1.4, 1.15, 1.35, 1.5)
    (said,) = faults(then, now, "destroy:median:10%")
    assert said.endswith(
        "1.05 then, 1.35 s now: 28.6% more, and 10.0% are allowed;"
        " more than noise: 5 and 5 repeats rank so by chance in 0.8% of cases"
    )
    assert within_noise([parse_limit("destroy:median:10%")], compare_runs(then, now)) == []


def test_a_regression_that_is_noise_passes_and_is_told(a_row: MakeRow) -> None:
    then = repeats(a_row, 1.0, 1.1, 0.9, 1.5, 1.6)
    now = repeats(a_row, 1.4, 1.3, 0.95, 1.05, 1.7)
    assert faults(then, now, "destroy:median:10%") == []
    assert within_noise([parse_limit("destroy:median:10%")], compare_runs(then, now)) == [
        "within noise: destroyed_guest (xl, stock, 1024 MiB): destroy median: 1.10 then, 1.30 s"
        " now: 18.2% more, and 10.0% are allowed; 5 and 5 repeats rank so by chance in"
        " 42.1% of cases"
    ]
    # Nothing is told of what keeps its limit.
    assert within_noise([parse_limit("destroy:median:90%")], compare_runs(then, now)) == []


def test_the_same_figures_of_fewer_repeats_are_excused_by_nothing(a_row: MakeRow) -> None:
    then = repeats(a_row, 1.0, 1.1, 0.9, 1.5)
    (said,) = faults(then, repeats(a_row, 1.4, 1.3, 0.95, 1.5), "destroy:median:10%")
    assert "4 and 4 repeats are too few to tell that from noise" in said
    (said,) = faults(then[:3], repeats(a_row, 1.4, 1.3, 1.2), "destroy:median:10%")
    assert "more than noise: 3 and 3 repeats rank so by chance in 5.0% of cases" in said


@pytest.mark.parametrize(
    ("limit", "later"),
    [
        ("destroy:max:10%", (1.0, 1.1, 1.2, 1.3, 7.0)),
        ("destroy:min:5%", (1.1, 1.1, 1.2, 1.3, 1.4)),
    ],
)
def test_a_limit_on_one_value_is_never_excused_by_the_ranks_of_all(
    a_row: MakeRow, limit: str, later: tuple[float, ...]
) -> None:
    """One repeat that took five times as long is what a limit on the maximum is for."""
    then = [a_row(seconds) for seconds in (1.0, 1.1, 1.2, 1.3, 1.4)]
    now = [a_row(seconds) for seconds in later]
    (said,) = faults(then, now, limit)
    assert said.startswith("worse: ")
    assert within_noise([parse_limit(limit)], compare_runs(then, now)) == []


def test_of_a_rate_less_is_more_than_noise(a_row: MakeRow) -> None:
    def rates(*found: float) -> list[Row]:
        return [a_row(probe_bytes_per_second=each * 1e9) for each in found]

    (said,) = faults(rates(9, 8, 8.5, 9, 9), rates(5, 6, 5.5, 5, 6), "probe:median:10%")
    assert "more than noise" in said
    assert faults(rates(5, 6, 5.5, 5, 6), rates(9, 8, 8.5, 9, 9), "probe:median:10%") == []


@pytest.mark.parametrize(
    ("statistic", "now", "worse"), [("min", 1.2, True), ("max", 1.2, False), ("mean", 2.5, True)]
)
def test_each_statistic_is_its_own(a_row: MakeRow, statistic: str, now: float, worse: bool) -> None:
    then = [a_row(1.0), a_row(2.0), a_row(3.0)]
    assert bool(faults(then, [a_row(now)], f"destroy:{statistic}:10%")) is worse


def test_of_a_rate_less_is_worse(a_row: MakeRow) -> None:
    then, slow, fast = (a_row(probe_bytes_per_second=n * 1e9) for n in (10, 8, 20))
    assert faults([then], [fast], "probe:median:10%") == []
    (said,) = faults([then], [slow], "probe:median:10%")
    assert "probe_bytes_per_second median: 9.3 then, 7.5 GiB/s now: 20.0% less" in said


def test_what_is_not_compared_is_no_pass(a_row: MakeRow) -> None:
    then, now = [a_row(1.0)], [a_row(1.0, test="x.py::test_new"), a_row(1.0)]
    assert faults(then, now, "destroy:median:10%") == [
        "not compared: new (xl, stock, 1024 MiB): not measured in the earlier run"
    ]
    assert faults(then, [], "destroy:median:10%")
    assert "not measured now" in faults(then, [a_row(None)], "destroy:median:10%")[0]
    assert "not measured in the earlier run" in faults([a_row(None)], then, "destroy:min:1%")[0]
    assert faults(then, then, "gone:median:10%") == [
        "not compared: gone median: not measured in any test of both runs"
    ]


def test_what_a_starved_host_took_neither_breaks_a_limit_nor_keeps_it(a_row: MakeRow) -> None:
    then, slow = [a_row(1.0)], a_row(9.0, too_starved=True)
    assert faults(then, [a_row(1.0), slow], "destroy:max:10%") == []
    assert left_out(compare_runs(then, [a_row(1.0), slow])) == [
        "left out: destroyed_guest (xl, stock, 1024 MiB): 1 of 2 of this run: other work kept the"
        " host from running"
    ]
    assert left_out(compare_runs([slow], then))[0].endswith(
        "1 of 1 of the earlier run: other work kept the host from running"
    )
    # Nothing is left that the limit could be held to.
    for earlier, later in ((then, [slow]), ([slow], then)):
        assert faults(earlier, later, "destroy:max:10%") == [
            "not compared: destroy max: not measured in any test of both runs on a host that"
            " was not starved"
        ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("destroy", "'destroy' is not a limit"),
        ("destroy:median", "is not a limit"),
        ("destroy:median:10%:x", "is not a limit"),
        ("speed:median:10%", "'speed' is not one of: create, fill, destroy"),
        ("destroy:mode:10%", "'mode' is not one of: median, mean, min, max"),
        ("destroy:median:10", "'10' is not a percentage"),
        ("destroy:median:-5%", "'-5%' is not a percentage"),
        ("destroy:median:.%", "'.%' is not a percentage"),
        ("destroy:median:%", "'%' is not a percentage"),
        ("destroy:median:nan%", "'nan%' is not a percentage"),
        (":median:1%", "'' is not one of"),
    ],
)
def test_a_limit_that_cannot_be_meant(text: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(said)):
        parse_limit(text)


def test_a_limit() -> None:
    limit = parse_limit("probe:max:12.5%")
    assert (limit.metric.name, limit.statistic, limit.share) == (
        "probe_bytes_per_second", "max", 0.125,
    )  # fmt: skip


# -- the file ----------------------------------------------------------------------------------


def test_results_are_read_as_they_were_written(tmp_path: Path, a_row: MakeRow) -> None:
    path = tmp_path / "r"
    row = a_row(1.0, cpus=2, series={"state": [[0.0, "alive"]]})
    ResultsFile(path).append(a_row(7.0))
    ResultsFile(path).append(row)
    assert read_results(path) == [row]
    assert read_results(path)[0].series == row.series


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "there is no result in it"),
        ("{}\n", ":1: no result"),
        ("[1]\n", ":1: no result"),
        ("<testsuites/>\n", ":1: no result"),
        ("\udcff", "cannot be read"),
    ],
)
def test_a_file_without_results(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "r"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ConfigurationError, match=re.escape(said)):
        read_results(path)


def test_of_several_hosts_the_same_one_is_compared(a_row: Callable[..., Row]) -> None:
    """A pool's run has the same measurement once for each of its hosts."""
    then = [a_row(1.0, host="lab7"), a_row(9.0, host="lab8")]
    comparison = compare_runs(then, [a_row(1.1, host="lab7")])
    assert [pair.then[0].setting.host for pair in comparison.pairs] == ["lab7"]
    assert comparison.mismatches == []
