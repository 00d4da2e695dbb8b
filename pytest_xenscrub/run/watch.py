# SPDX-License-Identifier: MIT
"""Watches the host during a test: dom0 must respond, Xen must log no fault, the test must end."""

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
"""Longest time without dom0's response during a test; more fails the test."""
LIMIT_STEPS = 10
"""Limit of a test, in steps that each handle all of the host's memory. A hang is found long before,
so only a test that makes progress can reach this limit."""


class Watch:
    """Watches the host in use; does nothing while no host runs.

    Args:
        session: the run.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def limit(self, item: pytest.Item) -> None:
        """Set pytest-timeout's limit for a test, unless the user has set one.

        The limit does not include fixtures: they have their own deadlines, and may have to reboot a
        machine.
        """
        dom0 = self._dom0()
        if dom0 is not None and takes_limit(item):
            seconds = LIMIT_STEPS * dom0.patience_seconds(dom0.total_bytes)
            item.add_marker(pytest.mark.timeout(seconds, func_only=True))

    def check_responsive(self) -> None:
        """Raise if dom0 was silent for too long since the test began.

        Raises:
            HostStalledError: dom0 did not respond.
            HostSilentError: dom0 did not respond, but other work on this machine may be the cause.
        """
        dom0 = self._dom0()
        if dom0 is not None:
            check_stalls(dom0, MOST_STALL_SECONDS)

    def check_xen_log(self) -> None:
        """Raise `XenFaultError` if Xen logged a fault since the test began."""
        dom0 = self._dom0()
        if dom0 is not None and (said := dom0.faults()):
            with contextlib.suppress(XenScrubError):
                dom0.watch_log()  # so that the next test does not report the same fault
            raise XenFaultError(
                f"{dom0.host.name}: {said.splitlines()[0]}",
                todo="an assertion, a BUG or a WARN of Xen's own: look at its call trace",
                evidence={"Xen's log": said},
            )

    def _dom0(self) -> Dom0 | None:
        managed_host = self._session.managed_host
        return None if managed_host is None else managed_host.running
