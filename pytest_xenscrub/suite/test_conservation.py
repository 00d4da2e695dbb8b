# SPDX-License-Identifier: MIT
"""No page is lost: as much memory is free after a guest as before it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.dom0.client import XEN_HEAP_BYTES

if TYPE_CHECKING:
    from pytest_xenscrub.dom0.client import Dom0
    from pytest_xenscrub.guest.factory import GuestFactory
    from pytest_xenscrub.scrub.timing import Timings
    from pytest_xenscrub.scrub.victim import Victim

CYCLES = 3
MOST_CYCLES = 10


@pytest.mark.quick
def test_memory_is_conserved(
    victim: Victim, timings: Timings, guests: GuestFactory, dom0: Dom0
) -> None:
    """Guests that follow each other lose no memory, whatever queues hold unscrubbed pages.

    Queues lose pages by a race, when they are full, or when they are forgotten. Each victim follows
    the one before at once, which `recreate` times. A page lost with each guest, or more than a few
    in all, is a leak; so the last guest must cost nothing.
    """
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
    cycles, lost = CYCLES, before - after
    while lost and cycles < MOST_CYCLES:
        guest = guests.create("victim", victim.memory_bytes, "fill")
        guest.ready()
        guest.destroy(until="free")
        after, earlier = dom0.settled_free_bytes(), after
        cycles, lost = cycles + 1, earlier - after
    assert lost == 0, f"after {cycles} guests each one still costs memory, the last {lost} bytes"
    assert abs(before - after) <= XEN_HEAP_BYTES, (
        f"{before} bytes were free before {cycles} guests and {after} after them:"
        f" {before - after:+d} are missing, and {XEN_HEAP_BYTES} are allowed for"
    )
