# SPDX-License-Identifier: MIT
"""Does the `destroy` of the table agree with `time xl destroy` typed in dom0?

    pytest bench/bench_destroy.py --xen-host=emulated -s

Both are measured in turn in one run, on guests of the same size: the shell's own `time` with nobody
watching, and ours with the agent sampling free memory, backlog and domain state: so their ratio is
also what the sampling costs.
"""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from tabulate import tabulate

from pytest_xenscrub.deadline import Deadline
from pytest_xenscrub.units import MIB

if TYPE_CHECKING:
    from pytest_xenscrub.dom0.client import Dom0
    from pytest_xenscrub.guest.factory import GuestFactory
    from pytest_xenscrub.guest.guest import Guest
    from pytest_xenscrub.scrub.victim import Victim

ROUNDS = 7
AGREES_SHARE = 0.02
AGREES_SECONDS = 0.020


def filled(guests: GuestFactory, dom0: Dom0, memory_bytes: int) -> Guest:
    dom0.wait_drained(Deadline.after(60, "backlog"))
    guest = guests.create("victim", memory_bytes, "fill")
    guest.ready()
    return guest


def typed(guest: Guest, dom0: Dom0) -> float:
    """What the shell's `time` says, s."""
    script = f"TIMEFORMAT=%3R; time xl destroy {guest.domid}"
    done = dom0.host.run(["bash", "-c", script], deadline=Deadline.after(60, "xl destroy"))
    guest.release()
    return float(done.stderr.split()[-1])


def ours(guest: Guest) -> float:
    """What the table says, s."""
    reclaim = guest.destroy(until="clean").reclaim
    assert reclaim.returned is not None
    return reclaim.returned - reclaim.issued


def test_destroy_agrees_with_time(guests: GuestFactory, dom0: Dom0, victim: Victim) -> None:
    size = victim.memory_bytes
    ours(filled(guests, dom0, size))  # the first one pays for cold caches
    shell, table = [], []
    for _ in range(ROUNDS):
        shell.append(typed(filled(guests, dom0, size), dom0))
        table.append(ours(filled(guests, dom0, size)))
    rows = [
        (name, f"{statistics.median(values):.3f}", f"{min(values):.3f}", f"{max(values):.3f}")
        for name, values in (("time xl destroy", shell), ("destroy", table))
    ]
    print(f"\n{size // MIB} MiB, {ROUNDS} rounds, s")
    print(tabulate(rows, headers=("", "median", "least", "most"), disable_numparse=True))
    difference = statistics.median(table) - statistics.median(shell)
    ratio = statistics.median(table) / statistics.median(shell)
    print(f"difference {difference * 1000:+.1f} ms, ratio {ratio:.3f}")
    assert abs(difference) <= max(AGREES_SECONDS, AGREES_SHARE * statistics.median(shell))
