# SPDX-License-Identifier: MIT
"""Free pages that merge into larger extents, some of them dirty and some clean."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.guest.events import Verified
from pytest_xenscrub.units import PAGE

if TYPE_CHECKING:
    from pytest_xenscrub.dom0.client import Dom0
    from pytest_xenscrub.guest.factory import GuestFactory
    from pytest_xenscrub.guest.guest import Guest
    from pytest_xenscrub.run.managed_host import RunningXen
    from pytest_xenscrub.scrub.probe import Probe
    from pytest_xenscrub.scrub.timing import Timings

LEAST_PAIRS = 100
"""Least number of buddies shared by victim and live guest; by chance it is every other page."""


def interleave(guests: tuple[Guest, Guest], pages: int) -> int:
    """Make both guests give back single pages, take others at the same time, and fill them.

    Returns:
        Number of pairs of buddies that the guests share.
    """
    for guest in guests:
        guest.do(f"balloon={pages}")
    for guest in guests:
        guest.send(f"populate={pages},fill")
    for guest in guests:
        guest.ready()
    ours, theirs = (guest.frames for guest in guests)
    return sum(1 for mfn in ours if mfn ^ 1 in theirs)


@pytest.mark.slow
@pytest.mark.control
@pytest.mark.parametrize("scrubbed_by", ["idle", "allocation"])
def test_only_what_a_live_guest_gave_back_is_dirty(
    guests: GuestFactory, probe: Probe, timings: Timings, dom0: Dom0, *,
    running_xen: RunningXen, scrubbed_by: str,
) -> None:  # fmt: skip
    """Where frames of a live guest and a victim merge, only the live guest's frames stay dirty.

    Xen does not scrub pages that the live guest gives back (unless booted with `scrub-domheap`),
    but scrubs the victim's. Both become one extent that is dirty from its first dirty page on. The
    live guest gives back half of its pages before the victim's are freed, and half afterwards. Xen
    4.11 lost the place of the first dirty page when buddies merged (1e2df96088).
    """
    size = guests.most_bytes() // 5
    live = guests.create("live", size, "scan", vcpus=1)
    victim = guests.create("victim", 3 * size, "scan", vcpus=1)
    for guest in (live, victim):
        guest.ready()
    pages = size * 3 // 4 // PAGE
    pairs = interleave((live, victim), pages)
    if pairs < LEAST_PAIRS:
        pytest.skip(f"only {pairs} frames of two guests lie next to each other: needs two CPUs")
    frames = victim.frames
    spinner = guests.spinners()
    live.do(f"balloon={pages // 2}")
    timings.record(victim.destroy(until="gone"))
    live.do(f"balloon={pages // 4}")
    if scrubbed_by == "idle":
        spinner.destroy(until="gone")
        dom0.wait_drained(dom0.patience("scrubbing what the victim left", dom0.total_bytes))
    else:
        dom0.settled_free_bytes()  # for a Xen in which only scrubbed pages are free
    given_back = live.ballooned
    verdict = probe.read(frames)
    assert verdict.clean, str(verdict)
    if running_xen.info.scrubs_all:
        assert not verdict.residue_frames & given_back, str(verdict)
    live.do("verify")
    verified = live.last(Verified)
    assert verified is not None
    assert verified.mismatched == 0, "the live guest's own memory was touched"
