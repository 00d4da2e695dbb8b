# SPDX-License-Identifier: MIT
"""What does it cost a destroy that its CPUs are looked at?

    pytest bench/bench_profile.py --xen-host=emulated --xen-profile -s

Destroys with and without are measured in turn in one run, on guests of the same size.
"""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING

import pytest
from tabulate import tabulate

from pytest_xenscrub.units import MIB

if TYPE_CHECKING:
    from pytest_xenscrub.guest.factory import GuestFactory
    from pytest_xenscrub.guest.guest import Ended
    from pytest_xenscrub.scrub.victim import Victim

ROUNDS = 7


def timed(victim: Victim, guests: GuestFactory, *, looked_at: bool) -> tuple[float, float, Ended]:
    """A destroy on dom0's clock and on this machine's, s."""
    guests.samples = looked_at
    victim.fill()
    began = time.monotonic()
    ended = victim.destroy(until="gone")
    seconds = time.monotonic() - began
    assert ended.reclaim.returned is not None
    return ended.reclaim.returned - ended.reclaim.issued, seconds, ended


def test_what_a_profile_costs(victim: Victim, guests: GuestFactory) -> None:
    if not guests.samples:
        pytest.skip("nothing looks at the CPUs: say --xen-profile")
    timed(victim, guests, looked_at=False)  # the first one pays for cold caches
    figures: dict[str, list[float]] = {}
    looks, seconds = 0, 0.0
    for _ in range(ROUNDS):
        for looked_at in (False, True):
            dom0, here, ended = timed(victim, guests, looked_at=looked_at)
            how = "with" if looked_at else "without"
            figures.setdefault(f"{how}, dom0's clock", []).append(dom0)
            figures.setdefault(f"{how}, this machine's clock", []).append(here)
            assert (ended.samples is not None) == looked_at
            if ended.samples is not None:
                looks += len(ended.samples.samples)
                seconds += ended.samples.seconds
    print(f"\n{victim.memory_bytes // MIB} MiB, {ROUNDS} rounds, s")
    rows = [
        (name, f"{statistics.median(each):.3f}", f"{min(each):.3f}", f"{max(each):.3f}")
        for name, each in sorted(figures.items())
    ]
    print(tabulate(rows, headers=("", "median", "least", "most"), disable_numparse=True))
    for clock in ("dom0's clock", "this machine's clock"):
        ratio = statistics.median(figures[f"with, {clock}"]) / statistics.median(
            figures[f"without, {clock}"]
        )
        print(f"with ÷ without, {clock}: {ratio:.2f}")
    print(f"{looks / seconds:.0f} looks a second of the machine's own time")
    assert looks / seconds >= 100
