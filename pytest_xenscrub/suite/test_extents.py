# SPDX-License-Identifier: MIT
"""Memory that is allocated in extents of 2 MiB and comes back as single pages, and the reverse."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.dom0.client import XEN_HEAP_BYTES
from pytest_xenscrub.errors import ResidueError
from pytest_xenscrub.guest.factory import LEAST_BYTES
from pytest_xenscrub.scrub.scenario import require
from pytest_xenscrub.units import MIB, PAGE

if TYPE_CHECKING:
    from pyroaring import BitMap64

    from pytest_xenscrub.dom0.client import Dom0
    from pytest_xenscrub.guest.factory import GuestFactory
    from pytest_xenscrub.guest.guest import Guest
    from pytest_xenscrub.guest_type import GuestType
    from pytest_xenscrub.run.managed_host import RunningXen
    from pytest_xenscrub.scrub.probe import Probe
    from pytest_xenscrub.scrub.timing import Timings
    from pytest_xenscrub.scrub.victim import Victim

EXTENT = 2 * MIB // PAGE
"""Pages of an extent that a domain builder allocates (order 9) and a page table maps by one
entry."""
LEAST_WHOLE = 0.5
"""Least share of a guest's memory that must be in whole extents, in which to punch holes."""
LEAST_TAKEN = 0.5
"""Least share of the pages given back that must be taken: Xen may use some for a guest itself."""
OTHERS = 1024
"""Number of further free pages, which a guest that wants pages may get first."""
SMALL_BYTES = 32 * MIB
CYCLES, WARM_UP = 8, 3
"""Small guests, and those before the first look: Xen's own heap grows with the first few."""
MOST_LOST_PAGES = 2
"""Xen's own heap may still grow by a page; a page lost with each guest is more than that."""


def extents(frames: BitMap64) -> list[int]:
    """Find the whole extents of 2 MiB among these frames; gives their first frames (MFNs)."""
    starts = {mfn - mfn % EXTENT for mfn in frames}
    return [at for at in sorted(starts) if frames.range_cardinality(at, at + EXTENT) == EXTENT]


def require_pages(count: int, least: float, what: str) -> None:
    """Check that Xen gave enough pages to the guest that the scenario wants: it may choose others.

    Raises:
        UndecidedError: it did not, so the scenario proves nothing; that is no fault of Xen's.
    """
    require(
        count >= least,
        f"{what}: {count}, and {least:.0f} are needed",
        todo="run it again: which free pages Xen takes depends on what ran before",
    )


def hand_over(guests: GuestFactory, giver: Guest, taker: Guest, holes: str) -> BitMap64:
    """Make one guest give back single pages, and another take them and read them at once.

    The taker has given back as many pages itself before, and hardly any other page is free. From
    the free ones, Xen takes a single page out of the smallest extent, but looks at high addresses
    first.

    Args:
        guests: creates a guest that takes all other memory.
        giver: the guest that gives back pages.
        taker: the guest that takes them; it has pages of its own to give back.
        holes: which pages the giver gives back, as in the kernel's `punch=`.

    Returns:
        The frames that the taker got from the giver (MFNs).

    Raises:
        UndecidedError: the taker got others.
    """
    pages = giver.memory_bytes // PAGE // int(holes.partition(":")[0]) + OTHERS
    taker.do(f"balloon={pages}")
    guests.create("ballast", guests.most_bytes(guest_type="pv"), "frames").ready()
    giver.do(f"punch={holes}")
    taker.do(f"populate={pages},scan")
    taken = giver.ballooned & (taker.frames_of("clean") | taker.frames_of("residue"))
    least = LEAST_TAKEN * len(giver.ballooned)
    require_pages(len(taken), least, "single pages that came back and were taken")
    return taken


@pytest.mark.slow
@pytest.mark.parametrize(
    "holes",
    [
        pytest.param(f"{EXTENT}:0", id="first"),
        pytest.param(f"{EXTENT}:{EXTENT - 1}", id="last"),
        pytest.param("3:0", id="thirds"),
    ],
)
def test_guest_with_holes_leaves_nothing(
    victim: Victim, probe: Probe, timings: Timings, guests: GuestFactory, dom0: Dom0, *,
    running_xen: RunningXen, holes: str,
) -> None:  # fmt: skip
    """A live guest that gives back single pages out of its extents leaves nothing when it dies.

    In a PVH guest, Xen has to split the entry that maps the extent. The holes are dirty by contract
    (unless booted with `scrub-domheap`). The guest that takes them must find them dirty, and then
    dies with them. From then on they are clean, and merge with their neighbours, which are dirty.
    """
    before = dom0.settled_free_bytes()
    had = victim.fill()
    if not victim.guest.knows_frames:
        pytest.skip("which frames it gives back, and which it keeps, nobody knows here")
    whole = extents(had)
    if len(whole) * EXTENT < LEAST_WHOLE * len(had):
        pytest.skip(f"of {len(had)} frames only {len(whole)} extents of 2 MiB are whole")
    spare = victim.memory_bytes // int(holes.partition(":")[0])
    taker = guests.create("taker", 2 * (spare + LEAST_BYTES), "scan")
    taker.ready()
    taken = hand_over(guests, victim.guest, taker, holes)
    punched = [mfn for mfn in whole if taken.range_cardinality(mfn, mfn + EXTENT)]
    require_pages(len(punched), LEAST_TAKEN * len(whole), "extents with a hole that was taken")
    verdict = probe.verdict(taken, [taker])
    dirty = verdict.residue_frames & taken
    if running_xen.info.scrubs_all:
        # A verdict excuses what a live guest gave back.
        if dirty:
            raise ResidueError(str(verdict))
    else:
        assert dirty == taken, str(verdict)
    assert victim.verify().mismatched == 0, "the live guest's own memory was touched"
    frames = victim.frames
    for guest in guests.guests.values():
        if guest is not victim.guest:
            guest.destroy(until="clean")
    timings.record(victim.destroy(until="clean"))
    missing = before - dom0.settled_free_bytes()
    assert abs(missing) <= XEN_HEAP_BYTES, f"{missing} bytes are missing"
    verdict = probe.read(frames | taken)
    assert verdict.clean, str(verdict)


@pytest.mark.quick
@pytest.mark.usefixtures("paging_pool")
def test_guests_with_holes_cost_nothing(timings: Timings, guests: GuestFactory, dom0: Dom0) -> None:
    """The page tables that Xen needs for the rest of an extent come back with the guest."""
    before = dom0.settled_free_bytes()
    for number in range(CYCLES):
        if number == WARM_UP:
            before = dom0.settled_free_bytes()
        guest = guests.create("victim", SMALL_BYTES, "fill", vcpus=1)
        guest.ready()
        guest.do(f"punch={EXTENT}")
        timings.record(guest.destroy(until="free"))
    lost = (before - dom0.settled_free_bytes()) // PAGE
    assert abs(lost) <= MOST_LOST_PAGES, f"{CYCLES - WARM_UP} guests cost {lost} pages"


@pytest.mark.slow
@pytest.mark.control
@pytest.mark.usefixtures("oracle")
@pytest.mark.parametrize("reader_type", ["pvh", "pv"])
def test_single_pages_that_merge_leave_nothing(
    probe: Probe, timings: Timings, guests: GuestFactory, dom0: Dom0, *, reader_type: GuestType
) -> None:
    """Two guests share each extent page by page and die; the next guest gets clean whole extents.

    One guest has given back every other page, and the other guest has taken these pages one by one.
    """
    if not dom0.runs(reader_type):
        pytest.skip(f"{reader_type} guests cannot run here: Xen has no nested paging (hap)")
    size = guests.most_bytes() // 4
    giver = guests.create("victim", size, "fill")
    taker = guests.create("victim", size, "scan")
    for guest in (giver, taker):
        guest.ready()
    hand_over(guests, giver, taker, "2")
    taker.do("fill")
    frames = giver.frames | taker.frames
    shared = {mfn - mfn % EXTENT for mfn in giver.frames}
    shared &= {mfn - mfn % EXTENT for mfn in taker.frames}
    for guest in (giver, taker):
        timings.record(guest.destroy(until="gone"))
    size = guests.most_bytes(guest_type=reader_type)
    reader = probe.create(size, guest_type=reader_type)
    verdict = probe.read(frames, beside=[reader])
    assert verdict.clean, str(verdict)
    merged = shared.intersection(extents(reader.frames_of("clean")))
    require_pages(len(merged), 1, "extents that both had and the reader was given whole")
