# SPDX-License-Identifier: MIT
"""Memory that goes from a guest of one type to a guest of another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.scrub.scenario import require

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
    """A PVH guest gets clean memory, in extents of 2 MiB merged from victims' single pages.

    The PVH guest does not know its frames; Xen's tables, seen from outside, name them.
    """
    if not dom0.runs("pvh"):
        pytest.skip("PVH guests cannot run here: Xen has no nested paging (hap)")
    frames = victim.fill()
    timings.record(victim.destroy(until="free"))
    reader = probe.create(guests.most_bytes(guest_type="pvh"), guest_type="pvh")
    verdict = probe.read(frames, beside=[reader])
    assert verdict.clean, str(verdict)
    got = (reader.frames_of("clean") | reader.frames_of("residue")) & verdict.filled
    require(got, "the PVH guest got nothing of what the victim left")
