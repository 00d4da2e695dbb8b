# SPDX-License-Identifier: MIT
"""What sampling costs: destroy watched ÷ destroy with nobody looking, both timed alike in dom0."""

from __future__ import annotations

from typing import TYPE_CHECKING

from _bench import Limit, destroy_seconds, filled, in_turns, report

from pytest_xenscrub.deadline import Deadline
from pytest_xenscrub.report.statistics import summarize

if TYPE_CHECKING:
    from pytest_xenscrub.dom0.client import Dom0
    from pytest_xenscrub.guest.factory import GuestFactory
    from pytest_xenscrub.guest.guest import Guest
    from pytest_xenscrub.scrub.victim import Victim


def unwatched(guest: Guest, dom0: Dom0) -> float:
    command = ["xl", "destroy", str(guest.domid)]
    done = dom0.run(command, deadline=Deadline.after(60, "xl destroy")).check()
    guest.release()
    return done.seconds


def test_sampler(guests: GuestFactory, dom0: Dom0, victim: Victim) -> None:
    size = victim.memory_bytes
    destroy_seconds(filled(guests, dom0, size))  # the first one pays for cold caches

    def measure(watched: bool) -> float:
        guest = filled(guests, dom0, size)
        return destroy_seconds(guest) if watched else unwatched(guest, dom0)

    pairs = in_turns(measure)
    ratio = summarize([watched / alone for watched, alone in pairs])
    assert ratio.interval is not None
    for word, end in zip(("from", "to"), ratio.interval, strict=True):
        report(f"destroy with the sampler / without, 95 % interval {word}", end, "x")
    report("destroy with the sampler / without, median", ratio.median, "x", Limit(0.98, 1.02))
