# SPDX-License-Identifier: MIT
"""Whose fault it was: the one rule of FAILED, ERROR, skip and exit status.

A phase of a test has ended:

    ├─ it did not pass, and a probe had seen residue before ── FAILED, xen; but for a control
    ├─ it passed, or pytest skipped or xfailed it ──────────── pytest's own outcome
    ├─ NotApplicableError ──────────────────────────────────── skip, with its reason
    ├─ another XenScrubError, wherever it was raised
    │   ├─ its fault is xen ────────────────────────────────── FAILED (after a test: ERROR), xen
    │   ├─ its fault is infrastructure ─────────────────────── ERROR, infrastructure
    │   └─ its fault is unknown ────────────────────────────── ERROR, unknown
    ├─ anything else, in a test with a host
    │   ├─ the test's own assertion, or pytest.fail() ──────── FAILED, xen
    │   ├─ its assertion that a verdict is clean, and that
    │   │  says UNPROVEN: too little was read ──────────────── ERROR, unknown
    │   ├─ pytest-timeout's limit ──────────────────────────── ERROR, unknown
    │   └─ any other exception, any set-up, any teardown ───── ERROR, infrastructure
    ├─ a control, or strict xfail, that did not fail as it must  ERROR, infrastructure
    ├─ a worker of pytest-xdist's died ─────────────────────── ERROR, infrastructure
    └─ anything else, in a test without a host ─────────────── pytest's own outcome

A run has ended, with pytest's own exit status:

    ├─ what was asked for cannot be had here (preflight) ───── 75, before any host is started
    ├─ 2, 3, 4, 5 (interrupted, internal, usage, no tests) ─── as it is
    ├─ 1 (something failed)
    │   ├─ only ERRORs that are not Xen's ──────────────────── 75
    │   └─ a fault of Xen's, or a test without a host ──────── 1
    └─ 0 (nothing failed)
        ├─ a test passed, or was run again, over residue ───── 1
        ├─ `--xen-fail-if` was exceeded ────────────────────── 1
        ├─ a host was asked for, and nothing was judged ────── 75
        └─ else ────────────────────────────────────────────── 0

`--xen-exit=bisect` says the same to `git bisect run`:

    ├─ Ctrl-C, SIGTERM ─────────────────────────────────────── 130: bisecting stops
    ├─ a fault of Xen's, a pass over residue, or a figure
    │  worse than allowed ──────────────────────────────────── 1: bad
    ├─ 0 ───────────────────────────────────────────────────── 0: good
    └─ else ────────────────────────────────────────────────── 125: cannot be tested
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import pytest

from pytest_xenscrub.errors import Fault, NotApplicableError, ResidueError, XenScrubError

if TYPE_CHECKING:
    from collections.abc import Iterator

INFRASTRUCTURE_STATUS: Final = 75
"""`EX_TEMPFAIL` of sysexits.h: nothing can be said of Xen, try again."""
BISECT_SKIP: Final = 125
BISECT_STOP: Final = 130
"""`git bisect run` ends at any status above 127."""
FAULT: Final = "xen.fault"
WOULD_TELL: Final = (
    "what would tell: the serial log, and whether free memory still grew (--xen-results: series)"
    " when the limit passed; a slow machine passes with a longer --timeout, a hang does not"
)
RESIDUE_BEFORE: Final = "a probe of this test had seen residue before this error"
_VERDICT = re.compile(r"xen\.verdict\[\d+\]\.state")
_WORST_FIRST = (Fault.XEN, Fault.UNKNOWN, Fault.INFRASTRUCTURE)
_PHASES = ("setup", "call", "teardown")
_UNPROVEN = "UNPROVEN: "
"""Begins what such a verdict says."""
_TIMEOUT = "Timeout (>"
"""Begins what pytest-timeout says."""


# -- a phase of a test -----------------------------------------------------------------------------


def fault_of(error: BaseException, phase: str) -> Fault:
    """Whose fault an error is that a phase of a test with a host ended with."""
    if isinstance(error, BaseExceptionGroup):
        found = {fault_of(each, phase) for each in error.exceptions}
        return next(fault for fault in _WORST_FIRST if fault in found)
    if isinstance(error, XenScrubError):
        return error.fault
    if not isinstance(error, AssertionError | pytest.fail.Exception):
        return Fault.INFRASTRUCTURE
    if str(error).startswith(_TIMEOUT):
        return Fault.UNKNOWN
    return Fault.XEN if phase == "call" else Fault.INFRASTRUCTURE


def settle(
    item: pytest.Item,
    error: BaseException | None,
    report: pytest.TestReport,
    *,
    on_host: bool,
    control: bool = False,
) -> None:
    """Make a phase's report say whose fault it was, by the tree above.

    Args:
        item: the test.
        error: what the phase ended with, if not well.
        report: as pytest made it; changed in place.
        on_host: whether the test has to do with a host.
        control: whether it must fail.
    """
    residue = not control and saw_residue(item, error)
    vars(report)["xen_residue"] = residue and on_host
    if isinstance(error, NotApplicableError) and not residue:
        _skip(item, error, report)
    if not report.failed or not (on_host or isinstance(error, XenScrubError)):
        return
    # Without an error, what must fail has not failed as it must: our probe's fault, not Xen's.
    fault = Fault.INFRASTRUCTURE if error is None else fault_of(error, str(report.when))
    if fault is Fault.XEN and isinstance(error, AssertionError) and _is_unproven(item, error):
        fault = Fault.UNKNOWN  # nothing dirty was seen: lost memory, or memory that others have
    if residue and fault is not Fault.XEN:
        report.sections.append(("xen.fault: xen", RESIDUE_BEFORE))
        fault = Fault.XEN
    if report.when != "teardown":  # pytest counts a failure there as an error, whosever it is
        report.when = "call" if fault is Fault.XEN else "setup"
    if fault is Fault.UNKNOWN and not isinstance(error, XenScrubError):
        report.sections.append(("xen.fault: unknown", WOULD_TELL))
    vars(report)["xen_fault"] = fault.value
    _note(item.user_properties, fault)  # JUnit takes those of a test's last phase
    _note(report.user_properties, fault)


def saw_residue(item: pytest.Item, error: BaseException | None = None) -> bool:
    """Whether a test saw a dead guest's bytes: no later error takes that back.

    Args:
        item: the test: a probe's verdict is among its properties.
        error: what it ended with, which may say so too.
    """
    return isinstance(error, ResidueError) or any(
        value == "residue" and _VERDICT.fullmatch(name) for name, value in item.user_properties
    )


def _is_unproven(item: pytest.Item, error: AssertionError) -> bool:
    """Whether a test fails over its last verdict, and that one is neither clean nor residue."""
    states = [value for name, value in item.user_properties if _VERDICT.fullmatch(name)]
    return states[-1:] == ["unproven"] and str(error).startswith(_UNPROVEN)


def _skip(item: pytest.Item, error: NotApplicableError, report: pytest.TestReport) -> None:
    report.outcome = "skipped"
    path, line, _ = item.location
    reason = error.what + (f" ({error.todo})" if error.todo else "")
    report.longrepr = (path, (line or 0) + 1, f"Skipped: {reason}")


def _note(properties: list[tuple[str, object]], fault: Fault) -> None:
    """Name the worst fault of a test so far, once."""
    known = {Fault(str(value)) for name, value in properties if name == FAULT} | {fault}
    properties[:] = [each for each in properties if each[0] != FAULT]
    properties.append((FAULT, next(each for each in _WORST_FIRST if each in known).value))


# -- a run -----------------------------------------------------------------------------------------


class Blame:
    """What a run's failures come to, wherever its tests ran.

    Attributes:
        worse: whether a figure is worse than `--xen-fail-if` allows.
        interrupted: whether the user, or SIGTERM, ended the run.
        refused: whether the run was ended before any host, as what it asks for cannot be had.
        passed_over: the tests that passed, or were run again, though residue had been seen.
    """

    def __init__(self) -> None:
        self.worse = False
        self.interrupted = False
        self.refused = False
        self.passed_over: set[str] = set()
        self._faults: set[Fault | None] = set()

    def note(self, report: pytest.TestReport) -> None:
        """A phase of a test has ended."""
        if report.failed:
            self._faults.add(next(_fault(report), None))
            self.passed_over.discard(report.nodeid)
        elif report.when == "call" and report.outcome != "skipped" and _saw(report):
            self.passed_over.add(report.nodeid)

    def status(self, status: int, *, gate_open: bool, judged_nothing: bool) -> int:
        """The run's exit status.

        Args:
            status: pytest's own.
            gate_open: whether `--xen-fail-if` lets the run pass.
            judged_nothing: whether a host was asked for, and nothing was judged.
        """
        if status == pytest.ExitCode.TESTS_FAILED:
            around = self._faults and self._faults <= {Fault.INFRASTRUCTURE, Fault.UNKNOWN}
            leaked = self.passed_over or not gate_open
            return INFRASTRUCTURE_STATUS if around and not leaked else status
        if status != pytest.ExitCode.OK:
            return status
        if self.passed_over or not gate_open:
            return pytest.ExitCode.TESTS_FAILED
        return INFRASTRUCTURE_STATUS if judged_nothing else status

    def bisect_status(self, status: int) -> int:
        """What `git bisect run` is told in place of an exit status."""
        if self.interrupted:
            return BISECT_STOP
        if Fault.XEN in self._faults or self.passed_over or self.worse:
            return 1
        return 0 if status == 0 else BISECT_SKIP


def _saw(report: pytest.TestReport) -> bool:
    """Whether its test had seen residue, where that says something of the Xen in question."""
    return bool(vars(report).get("xen_residue"))


def _fault(report: pytest.TestReport) -> Iterator[Fault]:
    """The fault of a phase that failed; none for a test that has nothing to do with a host."""
    if "xen_fault" in vars(report):
        yield Fault(vars(report)["xen_fault"])
    elif report.when not in _PHASES:  # pytest-xdist says so of a worker that died
        yield Fault.INFRASTRUCTURE
