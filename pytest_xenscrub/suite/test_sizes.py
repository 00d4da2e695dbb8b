# SPDX-License-Identifier: MIT
"""How the time that a destroy takes grows with a guest's memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.scrub.fit import fits

if TYPE_CHECKING:
    from pytest_xenscrub.guest.factory import GuestFactory
    from pytest_xenscrub.scrub.probe import Probe
    from pytest_xenscrub.scrub.timing import Timings
    from pytest_xenscrub.scrub.victim import Victim

PARTS = 6
LEAST_PARTS = 2
"""Of all memory in six: what probes need for themselves is too much of what a smaller guest had."""


@pytest.mark.slow
@pytest.mark.control
def test_sizes_leave_nothing(
    victim: Victim, probe: Probe, timings: Timings, guests: GuestFactory
) -> None:
    """From a third of all memory to nearly all of it, and down again: a line, or not?

    Work that is done again for each page (a softirq, a list that is walked) shows as a slope, or as
    times that are on no line. Up and down, so that a host that gets slower does not look like one.
    """
    most = guests.most_bytes()
    upwards = [most * parts // PARTS for parts in range(LEAST_PARTS, PARTS + 1)]
    for size in upwards:
        victim.memory_bytes = size
        frames = victim.fill()
        timings.record(victim.destroy(until="clean"))
        verdict = probe.read(frames)
        assert verdict.clean, str(verdict)
    for size in reversed(upwards):
        victim.memory_bytes = size
        victim.fill()
        timings.record(victim.destroy(until="clean"))
    assert {fit.metric for fit in fits(timings.rows)} == {"destroy", "clean"}
