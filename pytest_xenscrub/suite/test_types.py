# SPDX-License-Identifier: MIT
"""Memory that goes from a guest of one type to one of another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_xenscrub.dom0.client import Dom0
    from pytest_xenscrub.guest.factory import GuestFactory
    from pytest_xenscrub.scrub.probe import Probe
    from pytest_xenscrub.scrub.timing import Timings
    from pytest_xenscrub.scrub.victim import Victim


@pytest.mark.quick
@pytest.mark.control
@pytest.mark.usefixtures("oracle")
def test_pvh_guest_gets_clean_memory(
    victim: Victim, probe: Probe, timings: Timings, guests: GuestFactory, dom0: Dom0
) -> None:
    """A PVH guest gets its memory in extents of 2 MiB, merged from what victims left singly.

    Which frames it was given it does not know: Xen's tables say so, seen from outside.
    """
    if not dom0.runs("pvh"):
        pytest.skip("PVH guests cannot run here: Xen has no nested paging (hap)")
    frames = victim.fill()
    timings.record(victim.destroy(until="free"))
    reader = probe.create(guests.most_bytes(guest_type="pvh"), guest_type="pvh")
    verdict = probe.read(frames, beside=[reader])
    assert verdict.clean, str(verdict)
    got = (reader.frames_of("clean") | reader.frames_of("residue")) & verdict.filled
    assert got, "the PVH guest got nothing of what the victim left: nothing is proven"
