# SPDX-License-Identifier: MIT
"""The paging pool: memory that Xen sets aside for a guest's page tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.units import KIB, MIB, PAGE

if TYPE_CHECKING:
    from pytest_xenscrub.dom0.client import Dom0
    from pytest_xenscrub.guest.factory import GuestFactory
    from pytest_xenscrub.scrub.timing import Timings

MEMORY_BYTES = 16 * MIB
POOL_BYTES = 48 * MIB
"""Far more than the page tables of such a guest take, so that most of it is never used."""
VGA_BYTES = 128 * KIB
"""Part of an HVM guest's memory that is left out, because a video card would have its memory
there."""
WARM_UP = 3
"""Guests before the first look: Xen's own heap grows with the first few."""
MOST_LOST_PAGES = 2
"""Xen's own heap may still grow by a page; a page lost with each guest is more than that."""


@pytest.mark.usefixtures("paging_pool")
@pytest.mark.parametrize(
    "cycles",
    [pytest.param(10, marks=pytest.mark.quick), pytest.param(50, marks=pytest.mark.slow)],
)
def test_paging_pools_come_back(
    timings: Timings, guests: GuestFactory, dom0: Dom0, cycles: int
) -> None:
    """All pages of a paging pool come back, although no list of the domain has them."""
    if not guests.toolstack.sizes_pool:
        pytest.skip(f"{guests.toolstack.name} chooses the size of paging pools itself")
    before = dom0.settled_free_bytes()
    for number in range(cycles):
        if number == WARM_UP:
            before = dom0.settled_free_bytes()
        guest = guests.create("victim", MEMORY_BYTES, "fill", vcpus=1, pool_bytes=POOL_BYTES)
        guest.ready()
        if not number:
            taken = before - dom0.free_bytes()
            memory = MEMORY_BYTES - (VGA_BYTES if guests.victim_type == "hvm" else 0)
            assert taken >= memory + POOL_BYTES, "the paging pool is smaller than asked for"
        timings.record(guest.destroy(until="free"))
    lost = (before - dom0.settled_free_bytes()) // PAGE
    assert abs(lost) <= MOST_LOST_PAGES, f"{cycles - WARM_UP} guests cost {lost} pages"
