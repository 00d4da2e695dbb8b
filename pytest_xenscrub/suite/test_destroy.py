# SPDX-License-Identifier: MIT
"""The main path: a guest is destroyed, and probes read what it left."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_xenscrub.guest.factory import GuestFactory
    from pytest_xenscrub.scrub.probe import Probe
    from pytest_xenscrub.scrub.timing import Timings
    from pytest_xenscrub.scrub.victim import Victim


@pytest.mark.quick
@pytest.mark.control
def test_destroyed_guest_leaves_nothing(victim: Victim, probe: Probe, timings: Timings) -> None:
    """Once the backlog is 0, everything must have been scrubbed: by whoever scrubs in peace."""
    frames = victim.fill()
    timings.record(victim.destroy(until="clean"))
    verdict = probe.read(frames)
    assert verdict.clean, str(verdict)


@pytest.mark.slow
@pytest.mark.control
def test_largest_guest_leaves_nothing(
    victim: Victim, probe: Probe, timings: Timings, guests: GuestFactory
) -> None:
    """As above with all memory that one guest can have: counters and lists at their limits."""
    victim.memory_bytes = guests.most_bytes()
    frames = victim.fill()
    timings.record(victim.destroy(until="clean"))
    verdict = probe.read(frames)
    assert verdict.clean, str(verdict)
