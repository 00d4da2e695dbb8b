# SPDX-License-Identifier: MIT
"""How long a dead guest's bytes stay in RAM, seen from outside, and where copies are."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.errors import ResidueError
from pytest_xenscrub.scrub.copies import describe, find_copies, wait_gone
from pytest_xenscrub.scrub.verdict import MIN_COVERAGE
from pytest_xenscrub.scrub.victim import in_background
from pytest_xenscrub.units import GIB, MIB

if TYPE_CHECKING:
    from pytest_xenscrub.guest.factory import GuestFactory
    from pytest_xenscrub.guest.guest import Guest
    from pytest_xenscrub.outside.oracle import Oracle
    from pytest_xenscrub.scrub.probe import Probe
    from pytest_xenscrub.scrub.timing import Timings
    from pytest_xenscrub.scrub.victim import Victim

BUSY_SECONDS = 5.0
"""How long bytes are watched while no CPU is idle: a hundred times what an idle one needs."""
SMALL_BYTES = 64 * MIB


def check_nothing_elsewhere(oracle: Oracle, guests: GuestFactory, guest: Guest) -> None:
    """Check that RAM holds no byte of a dead, scrubbed guest, except in Xen's heap."""
    copies = [copy for copy in find_copies(oracle, guests, guest) if not copy.kept]
    if copies:
        raise ResidueError(f"RESIDUE of {guest.name}: {describe(copies)}")


@pytest.mark.quick
@pytest.mark.control
def test_bytes_leave_ram_soon(
    victim: Victim, timings: Timings, oracle: Oracle, guests: GuestFactory, *, max_exposure: float
) -> None:
    """On an idle host a dead guest's bytes leave RAM soon, and no copy stays anywhere."""
    victim.fill()
    most = max_exposure * victim.memory_bytes / GIB
    limit = guests.dom0.patience("scrubbing what the victim left", seconds=most)
    ended = victim.destroy(until="clean")
    timings.record(ended)
    assert ended.recorder is not None
    exposure = ended.recorder.finish(most)
    wait_gone(oracle, guests, victim.guest, most)
    if exposure.last_byte is None or exposure.last_byte > most:
        raise limit.error(f"{exposure}, and {most:.2f} s are allowed")
    filled = victim.guest.filled_frames
    clean = len(oracle.clean(filled)) / len(filled)
    if clean < MIN_COVERAGE:
        raise ResidueError(f"RESIDUE: only {clean:.2%} of its frames have been scrubbed")
    check_nothing_elsewhere(oracle, guests, victim.guest)


@pytest.mark.slow
@pytest.mark.control
def test_bytes_while_no_cpu_is_idle(
    victim: Victim, probe: Probe, timings: Timings, oracle: Oracle, guests: GuestFactory, *,
    max_exposure: float,
) -> None:  # fmt: skip
    """Measures exposure while no CPU is idle; a Xen that scrubs in the idle loop leaves the bytes.

    That is no fault, as such pages are scrubbed when they are allocated. The column `exposure`
    tells such a Xen from one that scrubs all the same.
    """
    frames = victim.fill()
    spinner = guests.spinners()
    ended = victim.destroy(until="gone")
    timings.record(ended)
    assert ended.recorder is not None
    ended.recorder.finish(BUSY_SECONDS)
    verdict = probe.read(frames)
    assert not verdict.has_residue, str(verdict)
    spinner.destroy(until="clean")
    wait_gone(oracle, guests, victim.guest, max_exposure * victim.memory_bytes / GIB)
    check_nothing_elsewhere(oracle, guests, victim.guest)


@pytest.mark.slow
@pytest.mark.control
@pytest.mark.parametrize(("count", "busy"), [(8, False), (4, True)], ids=["idle", "busy"])
def test_bytes_of_many_small_guests(
    timings: Timings,
    oracle: Oracle,
    guests: GuestFactory,
    *,
    count: int,
    busy: bool,
    max_exposure: float,
) -> None:
    """The bytes of many small guests that die at once, in mixed small pieces, all leave RAM."""
    small = [guests.create("victim", SMALL_BYTES, "fill") for _ in range(count)]
    for guest in small:
        guest.ready()
    spinner = guests.spinners() if busy else None
    dying = [in_background(partial(guest.destroy, until="gone")) for guest in small]
    ended = [future.result() for future in dying]
    most = max_exposure * count * SMALL_BYTES / GIB
    end = time.monotonic() + (BUSY_SECONDS if busy else most)
    for each in ended:
        timings.record(each)
        assert each.recorder is not None
        each.recorder.finish(max(0.0, end - time.monotonic()))
    if spinner is not None:
        spinner.destroy(until="clean")
    for guest in small:
        wait_gone(oracle, guests, guest, most)
        check_nothing_elsewhere(oracle, guests, guest)
