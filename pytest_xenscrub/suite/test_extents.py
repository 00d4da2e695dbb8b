# SPDX-License-Identifier: MIT
"""Memory that is given out in extents of 2 MiB and comes back singly, and the reverse."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.dom0.client import XEN_HEAP_BYTES
from pytest_xenscrub.errors import ResidueError
from pytest_xenscrub.guest.events import Populated
from pytest_xenscrub.units import MIB, PAGE

if TYPE_CHECKING:
    from pyroaring import BitMap64

    from pytest_xenscrub.dom0.client import Dom0
    from pytest_xenscrub.guest.factory import GuestFactory
    from pytest_xenscrub.guest_type import GuestType
    from pytest_xenscrub.run.rig import RunningXen
    from pytest_xenscrub.scrub.probe import Probe
    from pytest_xenscrub.scrub.timing import Timings
    from pytest_xenscrub.scrub.victim import Victim

EXTENT = 2 * MIB // PAGE
"""Pages of what a domain builder takes at a time (order 9), and a page table maps by one entry."""
LEAST_WHOLE = 0.5
"""Of a guest's memory: so much must be in whole extents, or there is nothing to punch holes in."""
LEAST_READ = 0.5
"""Of single pages given back: what Xen needs for a probe it takes from there first."""
SMALL_BYTES = 32 * MIB
CYCLES, WARM_UP = 8, 3
"""Small guests, and those before the first look: Xen's own heap grows with the first few."""
MOST_LOST_PAGES = 2
"""Xen's own heap may still grow by a page; a page lost with each guest is more than that."""


def extents(frames: BitMap64) -> list[int]:
    """The first frames of the whole extents of 2 MiB among these (MFNs)."""
    starts = {mfn - mfn % EXTENT for mfn in frames}
    return [at for at in sorted(starts) if frames.range_cardinality(at, at + EXTENT) == EXTENT]


@pytest.mark.parametrize(
    ("step", "at"),
    [
        pytest.param(EXTENT, 0, id="first", marks=pytest.mark.quick),
        pytest.param(EXTENT, EXTENT - 1, id="last", marks=pytest.mark.slow),
        pytest.param(3, 0, id="thirds", marks=pytest.mark.slow),
    ],
)
def test_guest_with_holes_leaves_nothing(
    victim: Victim, probe: Probe, timings: Timings, dom0: Dom0, *,
    running_xen: RunningXen, step: int, at: int,
) -> None:  # fmt: skip
    """A live guest gives single pages back out of its extents; what is left of those dies later.

    Of a PVH guest Xen has to split the entry that maps the extent. The holes are dirty by contract
    (but with `scrub-domheap`): a probe must find them, and owns them when it dies. From then on
    they are clean, and merge with the pages around them, which are not.
    """
    before = dom0.settled_free_bytes()
    had = victim.fill()
    if not victim.guest.knows_frames:
        pytest.skip("which frames it gives back, and which it keeps, nobody knows here")
    whole = extents(had)
    if len(whole) * EXTENT < LEAST_WHOLE * len(had):
        pytest.skip(f"of {len(had)} frames only {len(whole)} extents of 2 MiB are whole")
    holes = victim.punch(step, at)
    punched = [mfn for mfn in whole if holes.range_cardinality(mfn, mfn + EXTENT)]
    assert len(punched) >= LEAST_WHOLE * len(whole), "most extents have no hole: nothing is proven"
    verdict = probe.read(holes)
    swept = verdict.read_frames
    assert verdict.coverage >= LEAST_READ, str(verdict)
    if running_xen.info.scrubs_all:
        if verdict.residue_frames & holes:
            raise ResidueError(str(verdict))
    else:
        assert verdict.residue_frames & holes == holes & swept, str(verdict)
    assert victim.verify().mismatched == 0, "the live guest's own memory was touched"
    frames = victim.frames
    timings.record(victim.destroy(until="clean"))
    missing = before - dom0.settled_free_bytes()
    assert abs(missing) <= XEN_HEAP_BYTES, f"{missing} bytes are missing"
    verdict = probe.read(frames)
    assert verdict.clean, str(verdict)
    assert not verdict.residue_frames & swept, str(verdict)


@pytest.mark.quick
def test_guests_with_holes_cost_nothing(timings: Timings, guests: GuestFactory, dom0: Dom0) -> None:
    """The tables that Xen needs for what is left of an extent come back with its guest."""
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


@pytest.mark.control
@pytest.mark.usefixtures("oracle")
@pytest.mark.parametrize(
    "reader_type",
    [pytest.param("pvh", marks=pytest.mark.quick), pytest.param("pv", marks=pytest.mark.slow)],
)
def test_single_pages_that_merge_leave_nothing(
    probe: Probe, timings: Timings, guests: GuestFactory, dom0: Dom0, *, reader_type: GuestType
) -> None:  # fmt: skip
    """Two guests share each extent page by page, die, and the next one gets extents of 2 MiB.

    One gives back every other page. The other one takes those, while nothing else is free, and
    must find the first one's data there: that is a live guest's, and nobody scrubs it.
    """
    if not dom0.runs(reader_type):
        pytest.skip(f"{reader_type} guests cannot run here: Xen has no nested paging (hap)")
    size = guests.most_bytes() // 4
    giver = guests.create("victim", size, "fill")
    taker = guests.create("victim", size, "scan")
    for guest in (giver, taker):
        guest.ready()
    pages = size * 3 // 8 // PAGE
    taker.do(f"balloon={pages}")
    ballast = guests.create("ballast", guests.most_bytes(guest_type="pv"), "frames")
    ballast.ready()
    giver.do("punch=2")
    holes = giver.ballooned
    taker.do(f"populate={pages},scan")
    assert taker.last(Populated) == Populated(pages), "what was given back is nobody's"
    found = taker.frames_of("residue") & holes
    assert len(found) >= LEAST_READ * len(holes), "the taker did not get the holes: nothing proven"
    taker.do("fill")
    frames = giver.frames | taker.frames
    shared = {mfn - mfn % EXTENT for mfn in giver.frames}
    shared &= {mfn - mfn % EXTENT for mfn in taker.frames}
    for guest in (giver, taker):
        timings.record(guest.destroy(until="gone"))
    reader = probe.create(guests.most_bytes(guest_type=reader_type), guest_type=reader_type)
    verdict = probe.read(frames, beside=[reader])
    assert verdict.clean, str(verdict)
    merged = shared.intersection(extents(reader.frames_of("clean")))
    assert merged, "no extent that both had was given to the reader whole: nothing is proven"
