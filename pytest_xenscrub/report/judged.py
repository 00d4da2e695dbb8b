# SPDX-License-Identifier: MIT
"""What a run has proven: in how many scenarios Xen was judged, and by how much memory.

A scenario is a test with a host that is not a control. It is judged if it FAILED by a fault of Xen,
or if it passed and was measured: by a probe's verdict, by a row of timings, or by a figure of its
own, recorded by pytest's `record_property("xen.measured", ...)`.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_xenscrub.errors import Fault
from pytest_xenscrub.scrub.sampled import CERTAINTY, shown_share
from pytest_xenscrub.units import PAGE, gib

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import pytest

    from pytest_xenscrub.scrub.sampled import Sampled
    from pytest_xenscrub.scrub.verdict import Verdict

_MEASURED = re.compile(r"xen(\.verdict)?\[\d+\]\.|xen\.measured$")
_FRAMES = re.compile(r"xen\.verdict\[\d+\]\.frames_read")
_COVERAGE = re.compile(r"xen\.verdict\[\d+\]\.coverage")
_FILLED = re.compile(r"xen\.verdict\[\d+\]\.frames_filled")
_FREED = re.compile(r"xen\.verdict\[\d+\]\.frames_freed")
_FOUND = re.compile(r"xen\.verdict\[\d+\]\.found_share")
_STATE = re.compile(r"xen\.verdict\[\d+\]\.state")
_GROUPS = 3
_REASON_LENGTH = 70


def verdict_properties(
    number: int, verdict: Verdict, *, counted: bool = True
) -> list[tuple[str, object]]:
    """A probe's verdict as `user_properties`, which travel with a test's reports.

    Args:
        number: the verdict's number in its test, from 0.
        verdict: the verdict.
        counted: whether its frames count; frames that are read again must not count twice.
    """
    name = f"xen.verdict[{number}]"
    state: tuple[str, object] = (f"{name}.state", verdict.state)
    if not counted:
        return [state]
    return [
        state,
        (f"{name}.frames_read", len(verdict.covered)),
        (f"{name}.coverage", verdict.coverage),
        *_sample_properties(name, verdict.sampled),
    ]


def _sample_properties(name: str, sampled: Sampled | None) -> Iterator[tuple[str, object]]:
    """Properties of a verdict on a sample; none for other verdicts."""
    if sampled is not None:
        yield f"{name}.frames_filled", sampled.filled
        yield f"{name}.frames_freed", sampled.freed
        yield f"{name}.found_share", sampled.found


@dataclass(frozen=True)
class SampledRun:
    """What victims filled, if they filled samples of their pages.

    Attributes:
        filled_bytes: memory that all victims together filled.
        share: share of their memory.
        found: the smallest leak that every verdict finds, as a share of a victim's pages.
    """

    filled_bytes: int
    share: float
    found: float

    def __str__(self) -> str:
        return (
            f"a sample of {self.share:.4%} was filled ({gib(self.filled_bytes)}), and leaks of"
            f" {shown_share(self.found)} of the pages are found with {CERTAINTY:.1%} certainty"
        )

    def as_dict(self) -> dict[str, object]:
        """For the results' file."""
        return {
            "filled_bytes": self.filled_bytes,
            "filled_share": self.share,
            "found_share": self.found,
        }

    @classmethod
    def of(cls, known: Mapping[str, Any]) -> SampledRun:
        """The sample in `known`, which `as_dict` made; errors: see `Proof.of`."""
        return cls(
            int(known["filled_bytes"]), float(known["filled_share"]), float(known["found_share"])
        )


@dataclass(frozen=True)
class Proof:
    """What a run has proven.

    Attributes:
        scenarios: number of scenarios.
        judged: number of scenarios in which Xen was judged.
        frames: number of dead guests' frames that probes read.
        coverage: the least coverage of all verdicts; None without a verdict.
        not_judged: number of other scenarios, by their outcome and its reason.
        residue: number of scenarios in which a probe saw residue.
        sampled: what victims filled that filled a sample; None without such victims.
    """

    scenarios: int
    judged: int
    frames: int
    coverage: float | None
    not_judged: dict[str, int]
    residue: int = 0
    sampled: SampledRun | None = None

    def __str__(self) -> str:
        said = f"judged {self.judged} of {self.scenarios} scenarios"
        said += f", {self.frames} frames ({gib(self.frames * PAGE)}) read"
        if self.coverage is not None:
            # Rounded down, so that it is true.
            said += f", coverage ≥ {math.floor(self.coverage * 10000) / 100:.2f} %"
        if self.sampled is not None:
            said += f"; {self.sampled}"
        if self.residue:
            said += f"; RESIDUE in {self.residue}"
        return f"{said}; not judged: {self._reasons()}" if self.not_judged else said

    def _reasons(self) -> str:
        groups = sorted(self.not_judged.items(), key=lambda group: -group[1])
        shown = [f"{count} {reason}" for reason, count in groups[:_GROUPS]]
        left = sum(count for _, count in groups[_GROUPS:])
        return ", ".join([*shown, *([f"{left} more"] if left else [])])

    def as_dict(self) -> dict[str, object]:
        """For the results' file."""
        return {
            "judged": self.judged,
            "residue": self.residue,
            "scenarios": self.scenarios,
            "frames_read": self.frames,
            "bytes_read": self.frames * PAGE,
            "coverage": self.coverage,
            "not_judged": self.not_judged,
            **(self.sampled.as_dict() if self.sampled is not None else {}),
        }

    @classmethod
    def of(cls, known: Mapping[str, Any]) -> Proof:
        """The proof that `as_dict` turned into `known`.

        Raises:
            KeyError, TypeError, ValueError: `known` is not such a proof.
        """
        coverage = known["coverage"]
        return cls(
            int(known["scenarios"]),
            int(known["judged"]),
            int(known["frames_read"]),
            None if coverage is None else float(coverage),
            {str(why): int(count) for why, count in dict(known["not_judged"]).items()},
            int(known.get("residue", 0)),
            SampledRun.of(known) if "filled_bytes" in known else None,
        )

    def as_properties(self) -> list[tuple[str, object]]:
        """Properties of the whole run, for JUnit."""
        flat = {**self.as_dict(), "not_judged": self._reasons() if self.not_judged else None}
        return [(f"xen.{key}", value) for key, value in flat.items() if value is not None]


@dataclass
class _Scenario:
    """What is known of one test so far."""

    passed: bool = False
    by_xen: bool = False
    residue: bool = False
    why_not: str = "not run"
    properties: Sequence[tuple[str, object]] = field(default_factory=tuple)

    @property
    def judged(self) -> bool:
        measured = any(_MEASURED.match(name) for name, _ in self.properties)
        return self.by_xen or (self.passed and measured)

    @property
    def reason(self) -> str:
        return "passed (nothing measured)" if self.passed else self.why_not


class Tally:
    """Counts scenarios by their reports, from all processes."""

    def __init__(self) -> None:
        self._scenarios: dict[str, _Scenario] = {}

    def expect(self, tests: Iterable[str]) -> None:
        """Note the ids of the scenarios that will run."""
        for test in tests:
            self._scenarios.setdefault(test, _Scenario())

    def note(self, report: pytest.TestReport) -> None:
        """Note the report of a phase of a test; ignores tests without a host."""
        if not vars(report).get("xen_scenario"):
            return
        scenario = self._scenarios.setdefault(report.nodeid, _Scenario())
        scenario.properties = report.user_properties
        fault = vars(report).get("xen_fault")
        scenario.residue |= vars(report).get("xen_residue", False)
        if fault == Fault.XEN:
            scenario.by_xen = True
        elif report.when == "call" and (report.passed or _showed_fault(report)):
            scenario.passed = True
        elif report.skipped or report.failed:
            scenario.why_not = _why_not(report)

    def proof(self) -> Proof:
        """The proof so far."""
        scenarios = self._scenarios.values()
        judged = [scenario for scenario in scenarios if scenario.judged]
        coverage = list(_values(judged, _COVERAGE))
        return Proof(
            len(scenarios),
            len(judged),
            int(sum(_values(judged, _FRAMES))),
            min(coverage) if coverage else None,
            dict(Counter(each.reason for each in scenarios if not each.judged)),
            sum(scenario.residue for scenario in scenarios),
            _sampled(judged),
        )


def _sampled(scenarios: Sequence[_Scenario]) -> SampledRun | None:
    freed = int(sum(_values(scenarios, _FREED)))
    if not freed:
        return None
    filled = int(sum(_values(scenarios, _FILLED)))
    return SampledRun(filled * PAGE, filled / freed, max(_values(scenarios, _FOUND)))


def _values(scenarios: Iterable[_Scenario], name: re.Pattern[str]) -> Iterator[float]:
    for scenario in scenarios:
        for key, value in scenario.properties:
            if name.fullmatch(key) and isinstance(value, int | float):
                yield value


def _showed_fault(report: pytest.TestReport) -> bool:
    """Whether a test was xfailed because of residue; an xfail over another error proves nothing."""
    return hasattr(report, "wasxfail") and any(
        value == "residue" and _STATE.fullmatch(name) for name, value in report.user_properties
    )


def _why_not(report: pytest.TestReport) -> str:
    """The outcome of a phase that did not pass, and its reason."""
    if hasattr(report, "wasxfail"):
        return f"xfailed ({_short(report.wasxfail)})"
    if report.skipped:
        said = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
        return f"skipped ({_short(said.removeprefix('Skipped: '))})"
    crash = getattr(report.longrepr, "reprcrash", None)
    what = str(vars(report).get("xen_reason") or getattr(crash, "message", ""))
    outcome = "of unknown fault" if vars(report).get("xen_fault") == Fault.UNKNOWN else "errors"
    return f"{outcome} ({_short(what)})"


def _short(text: str) -> str:
    line = (text.splitlines() or [""])[0]
    return line if len(line) <= _REASON_LENGTH else f"{line[: _REASON_LENGTH - 1]}…"
