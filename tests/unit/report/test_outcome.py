# SPDX-License-Identifier: MIT
"""How tests ended, as real runs of pytest report it, and as the results' file has it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.report.outcome import Outcome, Outcomes
from pytest_xenscrub.report.results import ResultsFile, read_runs

if TYPE_CHECKING:
    from pathlib import Path

TESTS = """
import pytest

@pytest.fixture
def broken(): raise OSError("no network")
@pytest.fixture
def breaks():
    yield
    raise OSError("late")

def test_passes(): pass
def test_fails(): assert 0, "RESIDUE"
def test_errs(broken): pass
def test_late(breaks): pass
def test_fails_and_late(breaks): assert 0, "first"
def test_skips(): pytest.skip("not here")
@pytest.mark.xfail(reason="known")
def test_known(): assert 0
@pytest.mark.xfail(reason="known")
def test_better(): pass
"""


class Noted:
    """Notes all that pytest reports, as if all tests had a host."""

    def __init__(self) -> None:
        self.outcomes = Outcomes()
        self.ended: dict[str, Outcome] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        vars(report)["xen_scenario"] = True
        if outcome := self.outcomes.note(report):
            self.ended[outcome.test.rpartition("::")[2]] = outcome


def test_each_way_to_end(pytester: pytest.Pytester) -> None:
    noted = Noted()
    pytester.makepyfile(TESTS)
    pytester.inline_run("-p", "no:cacheprovider", plugins=[noted])
    told = {name: (end.outcome, end.why.splitlines()[:1]) for name, end in noted.ended.items()}
    assert told == {
        "test_passes": ("passed", []),
        "test_fails": ("failed", ["AssertionError: RESIDUE"]),
        "test_errs": ("error", ["OSError: no network"]),
        "test_late": ("error", ["OSError: late"]),
        "test_fails_and_late": ("failed", ["AssertionError: first"]),
        "test_skips": ("skipped", ["not here"]),
        "test_known": ("xfailed", ["known"]),
        "test_better": ("xpassed", ["known"]),
    }


def report(when: str, outcome: str, **known: object) -> pytest.TestReport:
    made = pytest.TestReport("a::b", ("a", 1, "b"), {}, outcome, None, when, duration=1.0)  # type: ignore[arg-type]
    vars(made).update(known)
    return made


def test_a_worker_that_died_ends_its_test() -> None:
    outcomes = Outcomes()
    assert outcomes.note(report("setup", "passed", xen_scenario=True)) is None
    ended = outcomes.note(report("???", "failed"))
    assert ended is not None
    assert (ended.outcome, ended.seconds) == ("failed", 2.0)


def test_residue_that_was_told_stays() -> None:
    outcomes = Outcomes()
    outcomes.note(report("setup", "passed", xen_scenario=True, xen_residue=True, xen_fault="xen"))
    ended = outcomes.note(report("teardown", "passed", xen_scenario=True))
    assert ended is not None
    assert ended.residue


def test_words_of_other_plugins_are_below_all() -> None:
    outcomes = Outcomes()
    outcomes.note(report("call", "rerun", xen_scenario=True))
    outcomes.note(report("call", "passed", xen_scenario=True))
    ended = outcomes.note(report("teardown", "rerun", xen_scenario=True))
    assert ended is not None
    assert ended.outcome == "passed"


def test_a_test_without_a_host_is_none_of_ours() -> None:
    assert Outcomes().note(report("teardown", "passed")) is None


def test_the_results_file_has_them(tmp_path: Path) -> None:
    file = ResultsFile(tmp_path / "results")
    file.append_test(Outcome("a::b", "error", "infrastructure", why="no network"), "today")
    last = Outcome("a::b", "failed", "xen", residue=True, why="RESIDUE", seconds=2.5)
    file.append_test(last, "today")
    (run,) = read_runs(tmp_path / "results")
    (outcome,) = run.tests.values()
    assert outcome == last
    line = json.loads((tmp_path / "results").read_text().splitlines()[0])
    assert line["fit"] is None, "readers of earlier versions pass over it"
