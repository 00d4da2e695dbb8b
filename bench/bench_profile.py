# SPDX-License-Identifier: MIT
"""What a profile costs: destroy with the CPUs looked at ÷ destroy without, on dom0's clock."""

from __future__ import annotations

import dataclasses
import statistics
from typing import TYPE_CHECKING

from _bench import Limit, filled, in_turns, report

if TYPE_CHECKING:
    from pytest_xenscrub.dom0.client import Dom0
    from pytest_xenscrub.guest.factory import GuestFactory
    from pytest_xenscrub.guest.guest import Ended
    from pytest_xenscrub.host.protocol import Host
    from pytest_xenscrub.scrub.victim import Victim


def seconds(ended: Ended) -> float:
    reclaim = ended.reclaim
    assert reclaim.returned is not None
    return reclaim.returned - reclaim.issued


def test_profile(guests: GuestFactory, dom0: Dom0, xen_host: Host, victim: Victim) -> None:
    size = victim.memory_bytes
    outside = xen_host.outside
    assert outside is not None, "a real machine's CPUs cannot be seen"
    filled(guests, dom0, size).destroy()  # the first one pays for cold caches
    rates, still = [], []

    def measure(profiled: bool) -> float:
        look = outside.start_sampling if profiled else None
        guests.listeners = dataclasses.replace(guests.listeners, start_sampling=look)
        ended = filled(guests, dom0, size).destroy()
        if ended.samples is not None:
            rates.append(len(ended.samples.samples) / ended.samples.seconds)
            still.append(ended.samples.stopped_seconds / ended.samples.seconds)
        return seconds(ended)

    ratios = [profiled / alone for profiled, alone in in_turns(measure)]
    report("destroy with a profile / without", statistics.median(ratios), "x")
    report("the machine stood still / ran", statistics.median(still), "x")
    report("looks at the CPUs in its second", statistics.median(rates), "", Limit(least=100))
