# SPDX-License-Identifier: MIT
"""A host with busy CPUs: which guests pay for the scrub, and how much?"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_xenscrub.dom0.client import Dom0
    from pytest_xenscrub.guest.factory import GuestFactory
    from pytest_xenscrub.guest.guest import Guest
    from pytest_xenscrub.scrub.probe import Probe
    from pytest_xenscrub.scrub.timing import Timings
    from pytest_xenscrub.scrub.victim import Victim

SPINNERS = 2
"""More vCPUs than CPUs, so that a CPU that one vCPU gives up goes to another, and is never idle."""
LEAST_SECONDS = 4.0
MOST_SECONDS = 20.0
LOOK_SECONDS = 0.5
LEAST_SHARE = 0.1


@dataclass(frozen=True)
class Usage:
    """CPU time that guests got in a period, and the length of the period, s."""

    cpu: float
    seconds: float

    @property
    def rate(self) -> float:
        """The number of CPUs that the guests had."""
        return self.cpu / self.seconds


def usage(dom0: Dom0, spinners: Sequence[Guest], period: Callable[[], None]) -> Usage:
    """The CPU time that spinners get during a period."""
    domids = {guest.domid for guest in spinners}

    def now() -> tuple[float, float]:
        used = sum(d.cpu_seconds for d in dom0.domains() if d.domid in domids)
        return used, time.monotonic()

    used, begin = now()
    period()
    used_later, end = now()
    return Usage(used_later - used, end - begin)


@pytest.mark.slow
@pytest.mark.control
def test_busy_cpus_leave_nothing(
    victim: Victim, probe: Probe, timings: Timings, guests: GuestFactory, dom0: Dom0
) -> None:
    """Without idle CPUs, dead guests' memory is still handed out clean; measures the CPU time lost.

    A Xen that scrubs in the idle loop lets the backlog wait, and scrubs at allocation. A Xen that
    does not wait must not starve the guests by unbounded work that runs before them.
    """
    frames = victim.fill()
    spinners = [guests.spinners() for _ in range(SPINNERS)]

    def wait(seconds: float, until_scrubbed: float) -> None:
        """Wait for a time, and longer while there is a backlog, watching the backlog."""
        end = time.monotonic() + seconds
        while (left := dom0.backlog_pages()) or time.monotonic() < end:
            if left and time.monotonic() > end + until_scrubbed:
                break
            time.sleep(LOOK_SECONDS)

    def destroy_and_scrub() -> None:
        timings.record(victim.destroy(until="gone"))
        wait(LEAST_SECONDS, MOST_SECONDS - LEAST_SECONDS)

    disturbed = usage(dom0, spinners, destroy_and_scrub)
    undisturbed = usage(dom0, spinners, lambda: wait(disturbed.seconds, 0.0))
    timings.lost((undisturbed.rate - disturbed.rate) * disturbed.seconds)
    verdict = probe.read(frames)
    assert verdict.clean, str(verdict)
    assert disturbed.rate >= LEAST_SHARE * undisturbed.rate, (
        f"guests had {disturbed.rate:.2f} CPUs during destroy and scrub, and {undisturbed.rate:.2f}"
        " in peace: they were starved"
    )
