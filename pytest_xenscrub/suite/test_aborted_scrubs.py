# SPDX-License-Identifier: MIT
"""Memory that is taken away from whoever is just scrubbing it: the scrub is broken off."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.guest.events import Populated
from pytest_xenscrub.units import PAGE

if TYPE_CHECKING:
    from pytest_xenscrub.dom0.client import Dom0
    from pytest_xenscrub.guest.factory import GuestFactory
    from pytest_xenscrub.run.rig import RunningXen
    from pytest_xenscrub.scrub.probe import Probe
    from pytest_xenscrub.scrub.timing import Timings
    from pytest_xenscrub.scrub.victim import Victim

ROUNDS = 6


def check_backlogs(backlogs: list[int], running_xen: RunningXen) -> None:
    """Whether there was ever something left to scrub when memory was taken.

    Where a destroy is slow, as a debug Xen's is, or idle CPUs are many, those keep up with it.
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
    """A guest follows the next, each with all memory, while idle CPUs scrub what the last one left.

    A domain builder takes 2 MiB at a time (order 9), and at the end what is just being scrubbed.
    A broken-off scrub must leave word of what it has not done: where the first dirty page is.
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
    """A guest takes pages singly (order 0), as a balloon driver does, while a neighbour's wait.

    An allocation of order 0 takes the first extent that there is, dirty or not, from under the
    scrubber's hands. The taker has given back clean pages, the victim has all that is free: so what
    the taker gets again is the victim's. It reads it before it gives it back for the next round.
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
        assert verdict.coverage > 0, "the taker got nothing of the victim's: nothing is proven"
    taker.destroy(until="clean")
    verdict = probe.read(frames)
    assert verdict.clean, str(verdict)
    check_backlogs(backlogs, running_xen)
