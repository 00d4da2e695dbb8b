# SPDX-License-Identifier: MIT
"""Memory that is allocated while a CPU scrubs it, so that the scrub is aborted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.guest.events import Populated
from pytest_xenscrub.scrub.scenario import require
from pytest_xenscrub.units import PAGE

if TYPE_CHECKING:
    from pytest_xenscrub.dom0.client import Dom0
    from pytest_xenscrub.guest.factory import GuestFactory
    from pytest_xenscrub.run.managed_host import RunningXen
    from pytest_xenscrub.scrub.probe import Probe
    from pytest_xenscrub.scrub.timing import Timings
    from pytest_xenscrub.scrub.victim import Victim

ROUNDS = 6


def check_backlogs(backlogs: list[int], running_xen: RunningXen) -> None:
    """Check that there was a backlog when memory was allocated.

    A slow destroy, as on a debug Xen, or many idle CPUs may leave no backlog.
    """
    if not any(backlogs):
        why = (
            "idle CPUs kept up"
            if running_xen.defers
            else f"Xen {running_xen.name} leaves no backlog"
        )
        pytest.skip(f"clean, but no scrub was ever aborted, so nothing is proven: {why}")


@pytest.mark.slow
@pytest.mark.control
def test_large_extents_that_are_being_scrubbed_are_handed_out_clean(
    victim: Victim, probe: Probe, timings: Timings, guests: GuestFactory, dom0: Dom0, *,
    running_xen: RunningXen,
) -> None:  # fmt: skip
    """Large extents (order 9) are handed out clean while idle CPUs scrub them.

    One guest follows another, each with all memory. A domain builder takes 2 MiB at a time, and at
    the end the extents that are being scrubbed. An aborted scrub must record where the first dirty
    page is.
    """
    memory_bytes = victim.memory_bytes = guests.most_bytes()
    frames = victim.fill()
    guest = victim.guest
    backlogs = []
    for _ in range(ROUNDS):
        timings.record(guest.destroy(until="gone"))
        backlogs.append(dom0.backlog_pages())
        guest = guests.create("victim", memory_bytes, "scan,fill", even_if_short=True)
        guest.ready()
        verdict = probe.verdict(frames, [guest])
        assert verdict.clean, str(verdict)
        frames = guest.frames
    timings.record(guest.destroy(until="clean"))
    verdict = probe.read(frames)
    assert verdict.clean, str(verdict)
    check_backlogs(backlogs, running_xen)


@pytest.mark.slow
@pytest.mark.control
def test_single_pages_that_are_being_scrubbed_are_handed_out_clean(
    victim: Victim, probe: Probe, timings: Timings, guests: GuestFactory, dom0: Dom0, *,
    running_xen: RunningXen,
) -> None:  # fmt: skip
    """Single pages (order 0) are handed out clean while their neighbours wait for a scrub.

    An allocation of order 0 takes the first extent, dirty or not, even one that is being scrubbed.
    The taker gives back clean pages, and the victim has all other memory: so the pages that the
    taker gets again are the victim's. The taker reads them before it gives them back for the next
    round.
    """
    taker = guests.create("taker", guests.most_bytes() // 3, "scan")
    taker.ready()
    pages = taker.memory_bytes * 3 // 4 // PAGE
    backlogs = []
    for _ in range(ROUNDS):
        taker.do(f"balloon={pages}")
        victim.memory_bytes = guests.most_bytes()
        frames = victim.fill()
        timings.record(victim.destroy(until="gone"))
        backlogs.append(dom0.backlog_pages())
        taker.do(f"populate={pages},scan")
        taken = taker.last(Populated)
        assert taken == Populated(pages), f"memory of a dead guest is nobody's: {taken}"
        verdict = probe.verdict(frames, [taker])
        assert not verdict.has_residue, str(verdict)
        require(verdict.coverage, "the taker got nothing of the victim's")
    taker.destroy(until="clean")
    verdict = probe.read(frames)
    assert verdict.clean, str(verdict)
    check_backlogs(backlogs, running_xen)
