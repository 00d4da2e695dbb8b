# SPDX-License-Identifier: MIT
"""A host whose CPUs are all busy with guests: who pays for the scrub?"""

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
"""More vCPUs than CPUs: a CPU that one of them lets go of is another's, and never idle."""
LEAST_SECONDS = 4.0
MOST_SECONDS = 20.0
LOOK_SECONDS = 0.5
LEAST_SHARE = 0.1


@dataclass(frozen=True)
class Usage:
    """CPU time that guests got, and in how long, s."""

    cpu: float
    seconds: float

    @property
    def rate(self) -> float:
        """CPUs that were theirs."""
        return self.cpu / self.seconds


def usage(dom0: Dom0, spinners: Sequence[Guest], period: Callable[[], None]) -> Usage:
    """What spinners get during a period."""
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
    """Idle CPUs are not there to scrub: it waits, or it takes CPU time from guests, and how much?

    What waits is scrubbed when it is handed out. What does not wait must not starve the guests:
    work that goes before them, and is not bounded, takes all of their time.
    """
    frames = victim.fill()
    spinners = [guests.spinners() for _ in range(SPINNERS)]

    def wait(seconds: float, until_scrubbed: float) -> None:
        """So long at least, and longer while there is a backlog; looks at it all the while."""
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
