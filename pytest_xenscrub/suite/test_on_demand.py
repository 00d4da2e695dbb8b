# SPDX-License-Identifier: MIT
"""Memory that is populated on demand (PoD): the memory map shows more than the guest has.

Xen keeps the memory that the guest has not used yet in a cache of the domain: the guest owns it,
but at no page. A page leaves the cache at its first use, and returns when the guest gives it away.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.dom0.client import XEN_HEAP_BYTES
from pytest_xenscrub.units import MIB, PAGE

if TYPE_CHECKING:
    from pytest_xenscrub.dom0.client import Dom0
    from pytest_xenscrub.guest.factory import GuestFactory
    from pytest_xenscrub.scrub.probe import Probe
    from pytest_xenscrub.scrub.timing import Timings
    from pytest_xenscrub.scrub.victim import Victim

COME_AND_GO = 16 * MIB // PAGE
"""Pages that come and go while their guest dies."""
SMALL_BYTES = 16 * MIB
CYCLES, WARM_UP = 8, 3
"""Small guests, and those before the first look: Xen's own heap grows with the first few."""
MOST_LOST_PAGES = 2
"""Xen's own heap may still grow by a page; a page lost with each guest is more than that."""
TOO_MUCH = f"overdraw={4 * MIB // PAGE}"
"""More than the pages full of zeroes that this kernel has, which Xen could reclaim instead."""

pytestmark = [pytest.mark.quick, pytest.mark.usefixtures("paging_pool")]


@pytest.fixture
def on_demand(victim: Victim) -> Victim:
    """A victim with a memory map of twice its memory."""
    victim.maximum_bytes = 2 * victim.memory_bytes
    return victim


def owned_bytes(dom0: Dom0, victim: Victim) -> int:
    """Memory that the victim owns by Xen's count, bytes."""
    (owned,) = [d.memory_bytes for d in dom0.domains() if d.domid == victim.guest.domid]
    return owned


@pytest.mark.control
@pytest.mark.usefixtures("oracle")
def test_guest_that_uses_all_it_has_leaves_nothing(
    on_demand: Victim, probe: Probe, timings: Timings, dom0: Dom0
) -> None:
    """A guest that fills all of its memory, to the middle of its memory map, leaves nothing."""
    before = dom0.settled_free_bytes()
    frames = on_demand.fill()
    timings.record(on_demand.destroy(until="clean"))
    assert abs(before - dom0.settled_free_bytes()) <= XEN_HEAP_BYTES, "memory is missing"
    verdict = probe.read(frames)
    assert verdict.clean, str(verdict)


@pytest.mark.control
@pytest.mark.usefixtures("oracle")
def test_guest_that_uses_more_than_it_has_leaves_nothing(
    on_demand: Victim, probe: Probe, timings: Timings, dom0: Dom0
) -> None:
    """Xen crashes a guest that uses more than it has; the guest takes and leaves nothing."""
    before = dom0.settled_free_bytes()
    frames = on_demand.fill()
    timings.record(on_demand.end("crash", told=TOO_MUCH))
    assert abs(before - dom0.settled_free_bytes()) <= XEN_HEAP_BYTES, "memory is missing"
    verdict = probe.read(frames)
    assert verdict.clean, str(verdict)


@pytest.mark.control
@pytest.mark.usefixtures("oracle")
def test_guest_destroyed_while_pages_come_and_go_leaves_nothing(
    on_demand: Victim, probe: Probe, timings: Timings
) -> None:
    """A guest leaves nothing if it dies while pages leave its cache and come back.

    The guest filled those pages and gave them back. It reads the memory that its memory map shows,
    over and over; Xen takes the pages that were read, full of zeroes, for the next ones.
    """
    frames = on_demand.fill()
    on_demand.balloon_out(COME_AND_GO)
    on_demand.guest.do(f"roam={2 * COME_AND_GO}")
    timings.record(on_demand.destroy(until="clean"))
    verdict = probe.read(frames)
    assert verdict.clean, str(verdict)


def test_guests_that_use_more_than_they_have_cost_nothing(
    timings: Timings, guests: GuestFactory, dom0: Dom0
) -> None:
    """Guests that die in a page fault, for using more than they have, lose no page."""
    if not guests.toolstack.survives_early_crashes:
        pytest.skip(f"{guests.toolstack.name}'s daemon may hang when a guest crashes at its start")
    before = dom0.settled_free_bytes()
    for number in range(CYCLES):
        if number == WARM_UP:
            before = dom0.settled_free_bytes()
        guest = guests.create("victim", SMALL_BYTES, "fill", vcpus=1, maximum_bytes=2 * SMALL_BYTES)
        guest.ready()
        timings.record(guest.end("crash", told=TOO_MUCH, until="free"))
    lost = (before - dom0.settled_free_bytes()) // PAGE
    assert abs(lost) <= MOST_LOST_PAGES, f"{CYCLES - WARM_UP} guests cost {lost} pages"


@pytest.mark.control
@pytest.mark.usefixtures("oracle")
def test_what_a_guest_gave_back_to_its_cache_is_scrubbed(
    on_demand: Victim, probe: Probe, timings: Timings, dom0: Dom0
) -> None:
    """Memory that a guest gave back to its cache still belongs to it, and is scrubbed when it dies.

    So such memory does not count as given back, which may be dirty.
    """
    frames = on_demand.fill()
    before = owned_bytes(dom0, on_demand)
    on_demand.balloon_out(on_demand.memory_bytes // 4 // PAGE)
    assert owned_bytes(dom0, on_demand) == before, "Xen did not keep it for the guest"
    timings.record(on_demand.destroy(until="clean"))
    verdict = probe.read(frames)
    assert verdict.clean, str(verdict)
