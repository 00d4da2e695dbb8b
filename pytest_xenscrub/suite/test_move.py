# SPDX-License-Identifier: MIT
"""Guests that go on in another domain: the old domain's frames need a scrub."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.deadline import Deadline
from pytest_xenscrub.errors import InfrastructureError
from pytest_xenscrub.guest.factory import LEAST_BYTES
from pytest_xenscrub.toolstack.base import ToolstackBase
from pytest_xenscrub.units import MIB, gib

if TYPE_CHECKING:
    from pytest_xenscrub.dom0.client import Dom0
    from pytest_xenscrub.guest.factory import GuestFactory
    from pytest_xenscrub.scrub.probe import Probe
    from pytest_xenscrub.scrub.timing import Timings
    from pytest_xenscrub.scrub.victim import Victim
    from pytest_xenscrub.toolstack.protocol import Toolstack

MOST_BYTES = 512 * MIB
"""Upper bound on a saved guest's memory: more would test dom0's disk, and not Xen."""
MOST_ROOMS = 3
"""Upper bound on the free memory for the victim and a probe, as a multiple of the victim's. A
domain builder writes to one in two hundred pages of a probe, and in a large probe too many of these
could be a small victim's."""


@pytest.fixture
def movable(victim: Victim, toolstack: Toolstack, guests: GuestFactory) -> Victim:
    """A victim small enough for dom0 to save; a second guest takes the other memory."""
    room = toolstack.room_bytes(Deadline.after(20, "room for a saved guest"))
    victim.memory_bytes = min(victim.memory_bytes, MOST_BYTES)
    if room < 2 * victim.memory_bytes:
        raise InfrastructureError(
            f"dom0's disk has only {gib(room)} left for a saved guest",
            todo=f"make room for {gib(2 * victim.memory_bytes)}, or say a smaller"
            " --xen-guest-memory",
        )
    ballast = guests.most_bytes() - MOST_ROOMS * victim.memory_bytes
    if ballast >= LEAST_BYTES:
        guests.create("ballast", ballast, "frames").ready()
    return victim


@pytest.mark.slow
@pytest.mark.control
def test_saved_guest_leaves_nothing(movable: Victim, probe: Probe, timings: Timings) -> None:
    """A saved guest's frames are clean, and the restored guest has its data.

    A save ends the domain on its own path, after dom0 had all of its pages mapped.
    """
    frames = movable.fill()
    timings.record(movable.guest.save(until="clean"))
    verdict = probe.read(frames)
    assert verdict.clean, str(verdict)

    assert not movable.guest.restore().cancelled
    assert movable.verify().mismatched == 0, "the guest got back something else than it had"

    # At once, because `downtime` includes the time in between.
    timings.record(movable.guest.save(until="gone"))
    timings.resumed(movable.guest.restore())
    assert movable.verify().mismatched == 0, "the guest lost something the second time"


@pytest.mark.slow
@pytest.mark.control
def test_migrated_guest_leaves_nothing(movable: Victim, probe: Probe, timings: Timings) -> None:
    """The old domain of a migrated guest leaves nothing, while its copy runs with the same bytes.

    During the copy Xen logged the guest's writes, in memory that comes free as well.
    """
    frames = movable.fill()
    left, resumed = movable.guest.migrate()
    timings.record(left)
    timings.resumed(resumed)
    assert not resumed.cancelled
    assert not frames & movable.frames, "both domains had the same frames"
    verdict = probe.read(frames)
    assert verdict.clean, str(verdict)
    assert movable.verify().mismatched == 0, "the guest arrived as something else than it was"


@pytest.mark.slow
@pytest.mark.control
def test_guest_whose_suspend_was_cancelled_leaves_nothing(
    movable: Victim, probe: Probe, timings: Timings
) -> None:
    """A guest that had shut down for a suspend, and went on, leaves nothing when destroyed."""
    frames = movable.fill()
    resumed = movable.guest.checkpoint()
    assert resumed.cancelled
    assert movable.frames == frames, "it has other frames now"
    assert movable.verify().mismatched == 0, "its memory was touched while it was away"
    timings.record(movable.destroy(until="clean"))
    timings.resumed(resumed)
    verdict = probe.read(frames)
    assert verdict.clean, str(verdict)


@pytest.mark.slow
def test_damage_to_a_saved_guest_is_seen(movable: Victim, toolstack: Toolstack, dom0: Dom0) -> None:
    """The control of the other tests: a page that changed since the save must be reported.

    A restored page still names the frame that it was in before, which counts as unchanged.
    """
    movable.fill()
    movable.guest.save(until="gone")
    assert isinstance(toolstack, ToolstackBase)
    file = f"{toolstack.saved}/{movable.guest.name}"
    middle = movable.memory_bytes // 2
    script = f"printf damaged. | dd of={file} bs=1 seek={middle} conv=notrunc"
    dom0.run(["sh", "-c", script], deadline=Deadline.after(60, f"damaging {file}")).check()
    movable.guest.restore()
    # The damage is in one page, or across the border of two.
    assert movable.verify().mismatched in {1, 2}
