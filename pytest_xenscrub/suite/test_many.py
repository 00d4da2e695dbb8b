# SPDX-License-Identifier: MIT
"""Several guests that die at the same time, compared with one large guest."""

from __future__ import annotations

import dataclasses
import itertools
from functools import partial
from typing import TYPE_CHECKING

import pytest
from pyroaring import BitMap64

from pytest_xenscrub.dom0.client import XEN_HEAP_BYTES
from pytest_xenscrub.scrub.scenario import require
from pytest_xenscrub.scrub.victim import in_background
from pytest_xenscrub.units import GIB, MIB, gib

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_xenscrub.dom0.client import Dom0
    from pytest_xenscrub.guest.factory import GuestFactory
    from pytest_xenscrub.guest.guest import Ended, Guest
    from pytest_xenscrub.scrub.probe import Probe
    from pytest_xenscrub.scrub.timing import Timings

MOST_GUESTS = 16
LEAST_BYTES = 256 * MIB
"""Least size of a guest: a smaller one is gone before the next one is told to go."""


def guest_bytes(guests: GuestFactory) -> int:
    """Memory of each guest, bytes: 1 GiB, or less on a small host."""
    size = min(GIB, guests.most_bytes() // 4)
    if size < LEAST_BYTES:
        pytest.skip(f"{gib(guests.most_bytes())} are free, and {gib(4 * LEAST_BYTES)} are needed")
    return size


def filled(guests: GuestFactory, memory_bytes: int) -> list[Guest]:
    """As many filled guests of that size as fit into free memory."""
    found: list[Guest] = []
    while guests.most_bytes() >= memory_bytes and len(found) < MOST_GUESTS:
        found.append(guests.create("victim", memory_bytes, "fill"))
        found[-1].ready()
    return found


def destroy_at_once(victims: Sequence[Guest]) -> list[Ended]:
    """Destroy all guests at the same time.

    Xen's counters do not tell whose memory came free, so no guest has a time for that.
    """
    dying = [in_background(partial(each.destroy, until="gone")) for each in victims]
    return [
        dataclasses.replace(ended, reclaim=dataclasses.replace(ended.reclaim, free=None))
        for ended in [each.result() for each in dying]
    ]


def overlaps(ended: Sequence[Ended]) -> bool:
    """Whether two of the guests died at the same time."""
    reclaims = sorted((each.reclaim for each in ended), key=lambda reclaim: reclaim.issued)
    return any(
        earlier.gone is not None and later.issued < earlier.gone
        for earlier, later in itertools.pairwise(reclaims)
    )


@pytest.mark.slow
@pytest.mark.control
def test_many_destroyed_at_once_leave_nothing(
    guests: GuestFactory, probe: Probe, timings: Timings, dom0: Dom0
) -> None:
    """Guests destroyed at once on all CPUs leave nothing, though they share heap lock and lists.

    Afterwards one guest with the memory of all of them is destroyed: its row is below theirs. The
    maximum of the many guests is the time after which all were gone.
    """
    before = dom0.settled_free_bytes()
    victims = filled(guests, guest_bytes(guests))
    frames = BitMap64.union(*(victim.frames for victim in victims))
    ended = destroy_at_once(victims)
    for each in ended:
        timings.record(each)
    dom0.wait_drained(dom0.patience("scrubbing what many guests left", dom0.total_bytes))
    verdict = probe.read(frames)
    assert verdict.clean, str(verdict)
    require(overlaps(ended), "no two guests died at the same time")

    large = guests.create("victim", len(victims) * victims[0].memory_bytes, "fill")
    large.ready()
    frames = large.frames
    timings.record(large.destroy(until="clean"))
    verdict = probe.read(frames)
    assert verdict.clean, str(verdict)
    assert abs(before - dom0.settled_free_bytes()) <= XEN_HEAP_BYTES, "memory was lost, or doubled"
