# SPDX-License-Identifier: MIT
"""What a host does while a test runs: it responds, Xen finds no fault in itself, the test ends."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.dom0.silence import check_stalls
from pytest_xenscrub.errors import XenFaultError, XenScrubError
from pytest_xenscrub.run.stash import takes_limit

if TYPE_CHECKING:
    from pytest_xenscrub.dom0.client import Dom0
    from pytest_xenscrub.run.session import Session

MOST_STALL_SECONDS = 5.0
"""A dom0 that does not respond for longer than this fails the test that did it to it."""
LIMIT_STEPS = 10
"""A test may take as long as so many steps that each deal with all of the host's memory, and fail
at that only if nothing has stood still: a hang is told long before."""


class Watch:
    """Looks at the host in use; where none runs, there is nothing to see.

    Args:
        session: the run.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def limit(self, item: pytest.Item) -> None:
        """Have pytest-timeout end a test that nothing else ends, unless the user has a limit.

        For the test alone: its fixtures may have to reboot a machine first, and have deadlines of
        their own.
        """
        dom0 = self._dom0()
        if dom0 is not None and takes_limit(item):
            seconds = LIMIT_STEPS * dom0.patience_seconds(dom0.total_bytes)
            item.add_marker(pytest.mark.timeout(seconds, func_only=True))

    def check_responsive(self) -> None:
        """Raise if dom0 was silent for too long since the test began.

        Raises:
            HostStalledError: it was dom0 that did not respond.
            HostSilentError: it, or the network, or this machine's other work.
        """
        dom0 = self._dom0()
        if dom0 is not None:
            check_stalls(dom0, MOST_STALL_SECONDS)

    def check_xen_log(self) -> None:
        """Raise `XenFaultError` if Xen found a fault in itself since the test began."""
        dom0 = self._dom0()
        if dom0 is not None and (said := dom0.faults()):
            with contextlib.suppress(XenScrubError):
                dom0.watch_log()  # it is told once
            raise XenFaultError(
                f"{dom0.host.name}: {said.splitlines()[0]}",
                todo="an assertion, a BUG or a WARN of Xen's own: look at its call trace",
                evidence={"Xen's log": said},
            )

    def _dom0(self) -> Dom0 | None:
        rig = self._session.rig
        return None if rig is None else rig.running
