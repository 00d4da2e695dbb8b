# SPDX-License-Identifier: MIT
"""Whose fault it was: a leak, or what is around Xen; in JUnit's properties and the exit status."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pytest_xenscrub.errors import XenFaultError

if TYPE_CHECKING:
    import pytest

INFRASTRUCTURE_STATUS: Final = 75
"""`EX_TEMPFAIL` of sysexits.h: nothing can be said of Xen, try again."""
FAULT = "xen.fault"
_INFRASTRUCTURE = "infrastructure"


def note_fault(item: pytest.Item, error: BaseException | None, report: pytest.TestReport) -> None:
    """Write into a report that failed, and so into JUnit, whose fault it was.

    Args:
        item: a test that has to do with a host.
        error: what it raised.
        report: of one of its phases; "call" is Xen's, whatever was raised.
    """
    if not report.failed:
        return
    xens = report.when == "call" or isinstance(error, XenFaultError)
    fault = (FAULT, "xen" if xens else _INFRASTRUCTURE)
    # In the item for JUnit, which takes those of the last phase.
    item.user_properties.append(fault)
    report.user_properties.append(fault)


class Outcome:
    """What became of a run's tests, wherever they ran."""

    def __init__(self) -> None:
        self._failed = False
        self._broken = False

    def note(self, report: pytest.TestReport) -> None:
        """A phase of a test has ended."""
        if not report.failed:
            return
        # What has no such property is a test that uses no host, or a worker that died.
        if (FAULT, _INFRASTRUCTURE) in report.user_properties and report.when != "call":
            self._broken = True
        else:
            self._failed = True

    def status(self, status: int) -> int:
        """Pytest's exit status for failed tests, or that for broken infrastructure alone.

        Args:
            status: what pytest would return.
        """
        only_broken = self._broken and not self._failed
        return INFRASTRUCTURE_STATUS if status == 1 and only_broken else status
