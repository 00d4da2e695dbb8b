# SPDX-License-Identifier: MIT
"""Finds how each test ended, from the reports of its phases, for the results' file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pytest

_LONGEST: Final = 8000
"""Characters of a failure's message."""
CUT_SHORT: Final = "cut short"
_RANKS: Final = {
    name: rank
    for rank, name in enumerate(("passed", "skipped", "xfailed", "xpassed", "error", "failed"), 1)
}
"""Ranks of outcomes: a higher one is worse; other plugins' outcomes, like `rerun`, rank lowest."""

_FAILURES: Final = ("failed", "error", "xpassed")
"""Outcomes that are failures, in the order in which they are told."""


@dataclass
class Outcome:
    """How one test ended.

    Attributes:
        test: the test's node id.
        outcome: passed, failed, error, skipped, xfailed or xpassed, as pytest counts it; CUT_SHORT
            for a test that the end of the run has cut short.
        fault: whose fault a failure was: xen, infrastructure or unknown.
        residue: whether a probe saw residue.
        why: the message of the failure, skip or xfail.
        seconds: duration of all its phases.
    """

    test: str
    outcome: str = ""
    fault: str | None = None
    residue: bool = False
    why: str = ""
    seconds: float = 0.0

    @property
    def state(self) -> str:
        """What is told of it first: RESIDUE, else how it ended, in capitals."""
        return "RESIDUE" if self.residue else self.outcome.upper()


def failures(tests: Iterable[Outcome]) -> list[Outcome]:
    """Failures in order: leaks first, then other faults of Xen."""
    return sorted(
        (test for test in tests if test.outcome in _FAILURES or test.residue),
        key=lambda test: (
            not test.residue,
            _FAILURES.index(test.outcome) if test.outcome in _FAILURES else len(_FAILURES),
        ),
    )


class Outcomes:
    """Combines the phases of each test."""

    def __init__(self) -> None:
        self._open: dict[str, Outcome] = {}

    def note(self, report: pytest.TestReport) -> Outcome | None:
        """Note the report of a phase; gives the test's outcome after its last phase.

        Ignores tests in which no phase is of a scenario. All phases count, because the last report
        of a test whose worker died does not tell that the test is a scenario.
        """
        known = vars(report)
        if "xen_scenario" not in known and report.nodeid not in self._open:
            return None
        outcome = self._open.setdefault(report.nodeid, Outcome(report.nodeid))
        outcome.seconds += report.duration
        outcome.residue |= known.get("xen_residue", False)
        phase = _of_phase(report)
        if not outcome.outcome or _RANKS.get(phase, 0) > _RANKS.get(outcome.outcome, 0):
            outcome.outcome = phase
            outcome.fault = known.get("xen_fault")
            outcome.why = _why(report)
        if report.when in ("setup", "call"):
            return None
        return self._open.pop(report.nodeid)

    def cut_short(self) -> list[Outcome]:
        """The tests that have begun but not ended, because the run ended before."""
        return [
            outcome
            if outcome.outcome in ("failed", "error")
            else replace(outcome, outcome=CUT_SHORT, why="the run ended in the middle of it")
            for outcome in self._open.values()
        ]


def _of_phase(report: pytest.TestReport) -> str:
    if hasattr(report, "wasxfail"):
        return "xpassed" if report.passed else "xfailed"
    if report.failed and report.when in ("setup", "teardown"):
        return "error"
    return report.outcome


def _why(report: pytest.TestReport) -> str:
    if hasattr(report, "wasxfail"):
        return str(report.wasxfail)
    if isinstance(report.longrepr, tuple):  # of a skip: file, line, reason
        return report.longrepr[2].removeprefix("Skipped: ")
    crash = getattr(report.longrepr, "reprcrash", None)
    text = vars(report).get("xen_text") or getattr(crash, "message", None)
    text = text or (report.longreprtext if report.failed else "")
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
