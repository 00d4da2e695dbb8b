# SPDX-License-Identifier: MIT
"""No page is lost: what was free before a guest is free after it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.units import gib

if TYPE_CHECKING:
    from pytest_xenscrub.dom0.client import Dom0
    from pytest_xenscrub.guest.factory import GuestFactory
    from pytest_xenscrub.scrub.timing import Timings
    from pytest_xenscrub.scrub.victim import Victim

CYCLES = 3


@pytest.mark.quick
def test_memory_is_conserved(
    victim: Victim, timings: Timings, guests: GuestFactory, dom0: Dom0
) -> None:
    """Queues of pages that wait for their scrub lose some when they race, are full, or forgotten.

    The very first guest of a host leaves some pages in use for all that follow, as tables of Xen
    and dom0 grow: so one comes before the count. Each victim follows the one before at once: that
    is what `recreate` times.
    """
    first = guests.create("first", victim.memory_bytes, "fill")
    first.ready()
    first.destroy(until="free")
    before = dom0.settled_free_bytes()
    victim.fill()
    ended = victim.destroy(until="free")
    timings.record(ended)
    for _ in range(CYCLES - 1):
        again = guests.create("victim", victim.memory_bytes, "fill")
        timings.recreated(ended, again)
        again.ready()
        ended = again.destroy(until="free")
        timings.record(ended)
    after = dom0.settled_free_bytes()
    assert after == before, (
        f"{gib(before)} were free before {CYCLES} guests and {gib(after)} after them:"
        f" {before - after:+d} bytes are missing"
    )
