# SPDX-License-Identifier: MIT
"""How each test ended, from the reports of its phases: for the results' file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import pytest

_LONGEST: Final = 8000
"""Characters of a failure's message."""
CUT_SHORT: Final = "cut short"
_RANKS: Final = {
    name: rank
    for rank, name in enumerate(("passed", "skipped", "xfailed", "xpassed", "error", "failed"), 1)
}
"""The worse the higher; words of other plugins, like `rerun`, are below all."""


@dataclass
class Outcome:
    """How one test ended.

    Attributes:
        test: its node id.
        outcome: passed, failed, error, skipped, xfailed or xpassed, as pytest counts it; of a test
            that the end of the run has cut short, CUT_SHORT.
        fault: whose it is, where it failed: xen, infrastructure or unknown.
        residue: whether a probe saw residue.
        why: what the failure, skip or xfail says.
        seconds: how long all its phases took.
    """

    test: str
    outcome: str = ""
    fault: str | None = None
    residue: bool = False
    why: str = ""
    seconds: float = 0.0


class Outcomes:
    """Puts the phases of each test together."""

    def __init__(self) -> None:
        self._open: dict[str, Outcome] = {}

    def note(self, report: pytest.TestReport) -> Outcome | None:
        """A phase has ended; gives the test's outcome if it was the last one.

        A test of which no phase has a scenario of ours is none of ours; of one whose worker died
        in the middle, the last report has nothing of it.
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
        """Those that have begun, and not ended: the run did before them."""
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
