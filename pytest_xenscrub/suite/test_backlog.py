# SPDX-License-Identifier: MIT
"""Memory that is handed out before idle CPUs could scrub it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.errors import CommandError
from pytest_xenscrub.guest.factory import RESERVE_BYTES
from pytest_xenscrub.scrub.scenario import require
from pytest_xenscrub.toolstack.protocol import wants_memory
from pytest_xenscrub.units import MIB

if TYPE_CHECKING:
    from pytest_xenscrub.dom0.client import Dom0
    from pytest_xenscrub.guest.factory import GuestFactory
    from pytest_xenscrub.guest.guest import Guest
    from pytest_xenscrub.run.managed_host import RunningXen
    from pytest_xenscrub.scrub.probe import Probe
    from pytest_xenscrub.scrub.timing import Timings
    from pytest_xenscrub.scrub.victim import Victim

ROUNDS = 8
SMALL_PROBE_BYTES = 64 * MIB


@pytest.mark.quick
@pytest.mark.control
def test_probe_while_backlog_waits(
    victim: Victim, probe: Probe, timings: Timings, guests: GuestFactory, running_xen: RunningXen
) -> None:
    """An allocation of unscrubbed pages scrubs them, or takes other pages.

    Idle CPUs scrub several GiB in a second. So a spinning guest keeps every CPU busy: the backlog
    waits, and the probe gets its memory through the allocation path.
    """
    frames = victim.fill()
    guests.spinners()
    # Not until "free" or "clean", because the backlog need not count as free before it is scrubbed.
    timings.record(victim.destroy(until="gone"))
    backlog = guests.dom0.backlog_pages()
    try:
        verdict = probe.read(frames)
    except CommandError as error:
        if not wants_memory(error):
            raise
        pytest.fail(f"memory counts as free while it waits, and no guest is given it:\n{error}")
    assert verdict.clean, str(verdict)
    if running_xen.defers:
        require(backlog, "nothing was left to scrub when the probe was built")
    elif not backlog:
        pytest.skip(f"clean, but Xen {running_xen.name} leaves no backlog to be probed")


@pytest.mark.quick
@pytest.mark.control
def test_probes_while_guest_dies(
    victim: Victim, probe: Probe, timings: Timings, guests: GuestFactory, dom0: Dom0
) -> None:
    """Each page that comes free while a guest dies is clean when the next guest gets it.

    Ballast holds all other memory, so that the small probes get the victim's memory as it comes
    free. A victim may die too fast for a toolstack: then the test tries another victim.
    """
    victim.memory_bytes = max(victim.memory_bytes, dom0.free_bytes() // 2)
    during: list[Guest] = []
    for _ in range(ROUNDS):
        frames = victim.fill()
        ballast = guests.create("ballast", guests.most_bytes(), "frames")
        ballast.ready()
        dying = victim.start_destroy(until="gone")
        probes: list[Guest] = []
        while not dying.done() and len(probes) < victim.memory_bytes // SMALL_PROBE_BYTES - 1:
            if dom0.free_bytes() >= SMALL_PROBE_BYTES + RESERVE_BYTES:
                probes.append(guests.create("probe", SMALL_PROBE_BYTES, "scan"))
        for guest in probes:
            guest.ready()
        ended = dying.result()
        early = probe.verdict(frames, probes)
        assert not early.has_residue, str(early)
        gone = ended.reclaim.gone
        during = [guest for guest in probes if gone is None or guest.created.issued < gone]
        if during:
            break
        for guest in (*probes, ballast):
            guest.destroy(until="free")
    require(during, f"no probe was built while one of {ROUNDS} victims died")
    timings.record(ended)
    verdict = probe.read(frames, beside=probes)
    assert verdict.clean, str(verdict)
