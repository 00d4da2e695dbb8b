# SPDX-License-Identifier: MIT
"""Decides whose fault a failure is: the one rule of FAILED, ERROR, skip and exit status.

A phase of a test has ended:

    ├─ a probe of its test saw residue, however it ended ───── FAILED, xen; except a control, and a
    │                                                          test that the suite marks xfail
    ├─ it passed, or pytest skipped or xfailed it ──────────── pytest's own outcome
    ├─ NotApplicableError ──────────────────────────────────── skip, with its reason
    ├─ another XenScrubError, wherever it was raised
    │   ├─ its fault is xen ────────────────────────────────── FAILED (after a test: ERROR), xen
    │   ├─ its fault is infrastructure ─────────────────────── ERROR, infrastructure
    │   └─ its fault is unknown ────────────────────────────── ERROR, unknown
    ├─ anything else, in a test with a host
    │   ├─ the test's own assertion, or pytest.fail() ──────── FAILED, xen
    │   ├─ its assertion that a verdict is clean, where the
    │   │  verdict is UNPROVEN: too little was read ────────── ERROR, unknown
    │   ├─ pytest-timeout's limit ──────────────────────────── ERROR, unknown
    │   └─ any other exception, any set-up, any teardown ───── ERROR, infrastructure
    ├─ a control, or strict xfail, that did not fail as it must  ERROR, infrastructure
    ├─ a worker of pytest-xdist died ───────────────────────── ERROR, infrastructure
    └─ anything else, in a test without a host ─────────────── pytest's own outcome

A run has ended, with pytest's own exit status:

    ├─ something it needs is missing here (preflight) ──────── 75, before any host is started
    ├─ residue was seen, even if the run was cut short then ── 1
    ├─ 2, 3, 4, 5 (interrupted, internal, usage, no tests) ─── as it is
    ├─ 1 (something failed)
    │   ├─ only ERRORs that are not Xen's, and no figure worse
    │   │  than `--xen-fail-if` allows ─────────────────────── 75
    │   └─ a fault of Xen's, or a test without a host ──────── 1
    └─ 0 (nothing failed)
        ├─ `--xen-fail-if` was exceeded, or not compared ───── 1
        ├─ a host was asked for, and nothing was judged ────── 75
        └─ else ────────────────────────────────────────────── 0

`--xen-exit=bisect` turns that into the statuses of `git bisect run`:

    ├─ Ctrl-C, SIGTERM ─────────────────────────────────────── 130: bisecting stops
    ├─ a fault of Xen's, or a figure worse than allowed ────── 1: bad
    ├─ 0 ───────────────────────────────────────────────────── 0: good
    └─ else ────────────────────────────────────────────────── 125: cannot be tested
"""

from __future__ import annotations

import re
from pathlib import Path
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
RESIDUE_ONLY: Final = "a probe of this test saw residue, and the test did not fail over that"
_SUITE = Path(__file__).parents[1] / "suite"
_SEEN: pytest.StashKey[bool] = pytest.StashKey()
"""Whether a test saw residue, in this attempt or an earlier one of a plugin that repeats tests."""
_KNOWN: pytest.StashKey[bool] = pytest.StashKey()
"""Whether a test failed as the suite expects (xfail)."""
_FAILED: pytest.StashKey[bool] = pytest.StashKey()
"""Whether a phase of this attempt at a test has failed."""
_VERDICT = re.compile(r"xen\.verdict\[\d+\]\.state")
_WORST_FIRST = (Fault.XEN, Fault.UNKNOWN, Fault.INFRASTRUCTURE)
_PHASES = ("setup", "call", "teardown")
_UNPROVEN = re.compile(r"\A(\Z|UNPROVEN: )|<Verdict unproven: ")
"""Message of an assertion on an unproven verdict: empty, the verdict's own text, or pytest's."""
_TIMEOUT = "Timeout (>"
"""Beginning of pytest-timeout's message."""


# -- a phase of a test -----------------------------------------------------------------------------


class Terminated(KeyboardInterrupt):
    """SIGTERM ends the run. Not an Exception, so that `except Exception` cannot swallow it."""


def fault_of(error: BaseException, phase: str) -> Fault:
    """Whose fault an error is, for an error that ended a phase of a test with a host."""
    if _cut_short(error):
        return Fault.UNKNOWN
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


def _cut_short(error: BaseException | None) -> bool:
    """Whether an error came during the run's early end: a failed clean-up proves nothing then."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt | pytest.exit.Exception):
            return True
        error = error.__context__
    return False


def settle(
    item: pytest.Item,
    error: BaseException | None,
    report: pytest.TestReport,
    *,
    on_host: bool,
    control: bool = False,
) -> None:
    """Write into a phase's report whose fault its failure was, by the tree above.

    Args:
        item: the test.
        error: the error that ended the phase, if any.
        report: pytest's report; changed in place.
        on_host: whether the test uses a host.
        control: whether the test must fail.
    """
    residue = on_host and not control and not _known(item, report) and saw_residue(item, error)
    if residue:
        vars(report)["xen_residue"] = True
        _condemn(item, report)
    elif isinstance(error, NotApplicableError):
        _skip(item, error, report)
    if not report.failed or not (on_host or isinstance(error, XenScrubError)):
        return
    # No error here means that a test which must fail did not: the probe has a fault, not Xen.
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


def tell_residue(item: pytest.Item) -> None:
    """Report at once that a test saw residue, in case the test is cut short.

    A report of a phase that passed prints nothing, and pytest-xdist's workers send it like any
    other.
    """
    report = pytest.TestReport(
        item.nodeid, item.location, {}, "passed", None, "setup",
        user_properties=list(item.user_properties),
    )  # fmt: skip
    vars(report).update(xen_scenario=True, xen_fault=Fault.XEN.value, xen_residue=True)
    item.ihook.pytest_runtest_logreport(report=report)


def known_to_suite(item: pytest.Item) -> bool:
    """Whether the suite itself marks this test xfail; markers of users do not count."""
    function = getattr(item, "function", None)
    marks = getattr(function, "pytestmark", ())
    if item.config.option.runxfail or not any(mark.name == "xfail" for mark in marks):
        return False
    return item.path.resolve().is_relative_to(_SUITE.resolve())


def _known(item: pytest.Item, report: pytest.TestReport) -> bool:
    """Whether a test failed as the suite expects, in this phase or before it."""
    xfailed = report.skipped and hasattr(report, "wasxfail") and known_to_suite(item)
    if report.when != "teardown":
        item.stash[_KNOWN] = xfailed
    return item.stash.get(_KNOWN, False)


def _condemn(item: pytest.Item, report: pytest.TestReport) -> None:
    """Fail a test that saw residue, even if it passed, was skipped, or had an xfail marker."""
    if report.when == "setup":
        item.stash[_FAILED] = False
    if report.passed and (report.when == "setup" or item.stash.get(_FAILED, False)):
        return  # the report of the call has it, or had it
    item.stash[_FAILED] = True
    if report.failed:
        return
    if not report.longrepr or isinstance(report.longrepr, tuple):
        report.longrepr = RESIDUE_ONLY
    report.outcome = "failed"
    vars(report).pop("wasxfail", None)


def saw_residue(item: pytest.Item, error: BaseException | None = None) -> bool:
    """Whether a test saw a dead guest's bytes; no later error or attempt takes that back.

    Args:
        item: the test, with the verdicts of its probes as properties.
        error: the error that ended the test; a `ResidueError` counts too.
    """
    seen = item.stash.get(_SEEN, False) or isinstance(error, ResidueError)
    seen = seen or any(
        value == "residue" and _VERDICT.fullmatch(name) for name, value in item.user_properties
    )
    item.stash[_SEEN] = seen
    return seen


def _is_unproven(item: pytest.Item, error: AssertionError) -> bool:
    """Whether a test failed because its last verdict was unproven."""
    states = [value for name, value in item.user_properties if _VERDICT.fullmatch(name)]
    return states[-1:] == ["unproven"] and _UNPROVEN.search(str(error)) is not None


def _skip(item: pytest.Item, error: NotApplicableError, report: pytest.TestReport) -> None:
    report.outcome = "skipped"
    path, line, _ = item.location
    reason = error.what + (f" ({error.todo})" if error.todo else "")
    report.longrepr = (path, (line or 0) + 1, f"Skipped: {reason}")


def _note(properties: list[tuple[str, object]], fault: Fault) -> None:
    """Keep only the worst fault of a test so far in its properties."""
    known = {Fault(str(value)) for name, value in properties if name == FAULT} | {fault}
    properties[:] = [each for each in properties if each[0] != FAULT]
    properties.append((FAULT, next(each for each in _WORST_FIRST if each in known).value))


# -- a run -----------------------------------------------------------------------------------------


class Blame:
    """Collects the failures of a run from all its processes, and decides its exit status.

    Attributes:
        worse: whether a figure is worse than `--xen-fail-if` allows.
        interrupted: whether the user, or SIGTERM, ended the run.
        refused: whether the run ended before any host was started, because something was missing.
    """

    def __init__(self) -> None:
        self.worse = False
        self.interrupted = False
        self.refused = False
        self._faults: set[Fault | None] = set()
        self._residue = False

    def note(self, report: pytest.TestReport) -> None:
        """Note the report of a phase of a test."""
        if report.failed:
            self._faults.add(next(_fault(report), None))
        if vars(report).get("xen_residue"):  # also if it passed: other plugins may repeat the test
            self._residue = True

    def status(self, status: int, *, gate_open: bool, judged_nothing: bool) -> int:
        """The run's exit status.

        Args:
            status: pytest's own.
            gate_open: whether `--xen-fail-if` lets the run pass.
            judged_nothing: whether a host was asked for, and nothing was judged.
        """
        if self._residue:
            return pytest.ExitCode.TESTS_FAILED
        if status == pytest.ExitCode.TESTS_FAILED:
            around = self._faults and self._faults <= {Fault.INFRASTRUCTURE, Fault.UNKNOWN}
            return INFRASTRUCTURE_STATUS if around and not self.worse else status
        if status != pytest.ExitCode.OK:
            return status
        if not gate_open:
            return pytest.ExitCode.TESTS_FAILED
        return INFRASTRUCTURE_STATUS if judged_nothing else status

    def bisect_status(self, status: int) -> int:
        """The status for `git bisect run`, in place of pytest's exit status."""
        if self.interrupted:
            return BISECT_STOP
        if Fault.XEN in self._faults or self._residue or self.worse:
            return 1
        return 0 if status == 0 else BISECT_SKIP


def _fault(report: pytest.TestReport) -> Iterator[Fault]:
    """The fault of a phase that failed; nothing for a test that does not use a host."""
    if "xen_fault" in vars(report):
        yield Fault(vars(report)["xen_fault"])
    elif report.when not in _PHASES:  # a report by pytest-xdist of a worker that died
        yield Fault.INFRASTRUCTURE
