# SPDX-License-Identifier: MIT
"""The main path: a guest is destroyed, and probes read its memory."""

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
    """A destroyed guest's memory is clean once the backlog is 0."""
    frames = victim.fill()
    timings.record(victim.destroy(until="clean"))
    verdict = probe.read(frames)
    assert verdict.clean, str(verdict)


@pytest.mark.slow
@pytest.mark.control
def test_largest_guest_leaves_nothing(
    victim: Victim, probe: Probe, timings: Timings, guests: GuestFactory
) -> None:
    """The memory of the largest possible guest is clean: counters and lists at their limits."""
    victim.memory_bytes = guests.most_bytes()
    frames = victim.fill()
    timings.record(victim.destroy(until="clean"))
    verdict = probe.read(frames)
    assert verdict.clean, str(verdict)
