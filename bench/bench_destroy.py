# SPDX-License-Identifier: MIT
"""Does the `destroy` of the table agree with `time xl destroy` typed in dom0?

Both are measured in turn, on guests of the same size: the shell's own `time` with nobody watching,
and ours with the agent sampling free memory, backlog and domain state.
"""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from _bench import Limit, destroy_seconds, filled, in_turns, report

from pytest_xenscrub.deadline import Deadline

if TYPE_CHECKING:
    from pytest_xenscrub.dom0.client import Dom0
    from pytest_xenscrub.guest.factory import GuestFactory
    from pytest_xenscrub.guest.guest import Guest
    from pytest_xenscrub.scrub.victim import Victim

AGREES_SHARE = 0.02
AGREES_SECONDS = 0.020


def typed(guest: Guest, dom0: Dom0) -> float:
    """What the shell's `time` says, s."""
    script = f"TIMEFORMAT=%3R; time xl destroy {guest.domid}"
    done = dom0.host.run(["bash", "-c", script], deadline=Deadline.after(60, "xl destroy"))
    guest.release()
    return float(done.stderr.split()[-1])


def test_destroy_agrees_with_time(guests: GuestFactory, dom0: Dom0, victim: Victim) -> None:
    size = victim.memory_bytes
    destroy_seconds(filled(guests, dom0, size))  # the first one pays for cold caches

    def measure(ours: bool) -> float:
        guest = filled(guests, dom0, size)
        return destroy_seconds(guest) if ours else typed(guest, dom0)

    pairs = in_turns(measure)
    table, shell = (statistics.median(column) for column in zip(*pairs, strict=True))
    report("time xl destroy, typed in dom0", shell, " s")
    report("destroy, as the table has it", table, " s")
    differ = statistics.median(ours - theirs for ours, theirs in pairs)
    most = max(AGREES_SECONDS, AGREES_SHARE * shell)
    report("  they differ by", abs(differ), " s", Limit(0, round(most, 3)))
