# SPDX-License-Identifier: MIT
"""Pages that go offline, as failing memory does, while a backlog waits; and come back.

The choice of pages is limited: up to 4.21 Xen splits a free range around a page into parts that are
not aligned to their size, and crashes later, unless the part behind the page is as long as a power
of two. For a page of a PV guest, Xen may take a lock that was never initialised.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pyroaring import BitMap64

from pytest_xenscrub.scrub.scenario import require
from pytest_xenscrub.units import PAGE

if TYPE_CHECKING:
    from pytest_xenscrub.dom0.client import Dom0
    from pytest_xenscrub.dom0.hotplug import Hotplug
    from pytest_xenscrub.guest.factory import GuestFactory
    from pytest_xenscrub.run.managed_host import RunningXen
    from pytest_xenscrub.scrub.probe import Probe
    from pytest_xenscrub.scrub.timing import Timings
    from pytest_xenscrub.scrub.victim import Victim

LAST_PAGES = [1, 2, *(1 + (1 << order) for order in range(1, 10))]
"""Pages counted from the end of a free range; each one is the last page of what is then left."""


@pytest.fixture
def last_pages(probe: Probe, dom0: Dom0) -> list[int]:
    """Free, clean frames at the end of a range that cannot merge with another one.

    Xen keeps the frames from one power of two to the next in a separate heap.
    """
    free = probe.read(BitMap64()).clean_frames
    dom0.wait_drained(dom0.patience("the backlog of a probe", dom0.total_bytes))
    for order in range(40, 16, -1):
        if free.issuperset(BitMap64(range((1 << order) - (1 << 10), 1 << order))):
            return [(1 << order) - page for page in LAST_PAGES]
    pytest.skip("no free range ends at a power of two, where a page can be taken safely")


@pytest.mark.slow
@pytest.mark.control
def test_pages_come_and_go_while_backlog_waits(
    victim: Victim, probe: Probe, timings: Timings, guests: GuestFactory, dom0: Dom0, *,
    hotplug: Hotplug, last_pages: list[int], running_xen: RunningXen,
) -> None:  # fmt: skip
    """Pages that go offline leave the heap's counters too, and split the range around them.

    The pages are clean, and a dead guest's pages surround them. A page that joins its neighbours
    again must not count as dirty, nor they as clean, and no memory may be lost or gained.
    """
    whole = dom0.settled_free_bytes()
    hotplug.offline_pages(last_pages)
    assert hotplug.offlined(last_pages) == {*last_pages}, "free pages do not go offline"
    less = len(last_pages) * PAGE
    assert whole - dom0.settled_free_bytes() == less, "free memory does not tell of what is offline"

    victim.memory_bytes = guests.most_bytes() * 15 // 16
    frames = victim.fill()
    assert not frames & BitMap64(last_pages), "the victim was given pages that are offline"
    spinner = guests.spinners()
    timings.record(victim.destroy(until="gone"))
    backlog = dom0.backlog_pages()
    free = dom0.settled_free_bytes()
    hotplug.online_pages(last_pages)
    assert dom0.settled_free_bytes() - free == less, "pages are online, and not free"
    hotplug.offline_pages(last_pages)
    assert hotplug.offlined(last_pages) == {*last_pages}
    assert dom0.settled_free_bytes() == free, "pages that were online for a moment have left a mark"
    still = dom0.backlog_pages()
    spinner.destroy(until="gone")
    dom0.wait_drained(dom0.patience("the backlog with pages offline", dom0.total_bytes))

    hotplug.online_pages(last_pages)
    assert dom0.backlog_pages() == 0, "clean pages that come online are no backlog"
    verdict = probe.read(frames)
    assert verdict.clean, str(verdict)
    assert verdict.clean_frames.issuperset(BitMap64(last_pages)), "nobody is given them any more"
    assert still <= backlog, "the backlog grew while nothing died"
    if not still:
        pytest.skip(f"clean, but Xen {running_xen.name} had no backlog any more when pages came")


@pytest.mark.slow
@pytest.mark.xfail(
    raises=AssertionError,
    reason="Xen forgets that a page is to be scrubbed when it goes offline; seen in 4.17",
)
def test_dirty_pages_that_went_offline_come_back_clean(
    victim: Victim, probe: Probe, timings: Timings, guests: GuestFactory, dom0: Dom0, *,
    hotplug: Hotplug, last_pages: list[int], running_xen: RunningXen,
) -> None:  # fmt: skip
    """A page that goes offline before its scrub is scrubbed once it is online again.

    Idle CPUs must not keep waiting for that page while it is offline.
    """
    victim.memory_bytes = guests.most_bytes() * 15 // 16
    frames = victim.fill()
    spinner = guests.spinners()
    timings.record(victim.destroy(until="gone"))
    if not dom0.backlog_pages():
        pytest.skip(f"Xen {running_xen.name} leaves no page dirty that could go offline")
    taken = BitMap64(last_pages) & frames
    hotplug.offline_pages(sorted(taken, reverse=True))
    spinner.destroy(until="gone")
    assert hotplug.offlined(taken) == {*taken}
    hotplug.online_pages(taken)
    verdict = probe.read(frames)
    assert verdict.clean, str(verdict)
    require(taken & verdict.covered, "no page that was offline was read")
