# SPDX-License-Identifier: MIT
"""How the time of a destroy grows with a guest's memory."""

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
"""Least size in sixths of all memory: the probes' own needs are too large a part of a smaller
guest."""


@pytest.mark.slow
@pytest.mark.control
def test_sizes_leave_nothing(
    victim: Victim, probe: Probe, timings: Timings, guests: GuestFactory
) -> None:
    """Guests of several sizes leave nothing; a line is fitted through their times.

    Sizes go from a third of all memory to nearly all of it, and down again. Work that is repeated
    for each page (a softirq, a list walk) shows as a slope, or as times off the line. Going up and
    down keeps a host that becomes slower from looking like such work.
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
