# SPDX-License-Identifier: MIT
"""Guests that are destroyed in an unusual state."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.dom0.client import XEN_HEAP_BYTES
from pytest_xenscrub.errors import CommandError
from pytest_xenscrub.guest.guest import Ended
from pytest_xenscrub.identity import new_uuid
from pytest_xenscrub.scrub.victim import in_background
from pytest_xenscrub.toolstack.protocol import DomainConfig

if TYPE_CHECKING:
    from pytest_xenscrub.dom0.client import Dom0
    from pytest_xenscrub.guest.factory import GuestFactory
    from pytest_xenscrub.scrub.probe import Probe
    from pytest_xenscrub.scrub.timing import Timings
    from pytest_xenscrub.scrub.victim import Victim
    from pytest_xenscrub.toolstack.protocol import Toolstack

TALK_LINES = 40
"""Lines of input for a guest: it works on them for some seconds, and a destroy takes less."""


@pytest.mark.quick
@pytest.mark.control
def test_guest_destroyed_while_it_talks_leaves_nothing(
    victim: Victim, probe: Probe, timings: Timings
) -> None:
    """A guest that writes to its console leaves nothing: dom0 has that page mapped."""
    frames = victim.fill()
    victim.guest.send("\n".join([",".join(["frames"] * 16)] * TALK_LINES))
    timings.record(victim.destroy(until="clean"))
    verdict = probe.read(frames)
    assert verdict.clean, str(verdict)


@pytest.mark.quick
@pytest.mark.control
def test_guest_destroyed_twice_leaves_nothing(
    victim: Victim, probe: Probe, timings: Timings, toolstack: Toolstack, dom0: Dom0
) -> None:
    """Two destroys of one guest at once free and queue each page only once.

    One of them may be refused, because the domain is gone by then.
    """
    before = dom0.settled_free_bytes()
    frames = victim.fill()
    domid = victim.guest.domid
    deadline = dom0.patience(f"{toolstack.name}: two destroys at once", victim.memory_bytes)
    watch = dom0.watch(domid, None, until="clean", deadline=deadline)
    destroys = [
        in_background(lambda: toolstack.destroy(domid, until="gone", deadline=deadline))
        for _ in range(2)
    ]
    issued = []
    for destroy in destroys:
        with contextlib.suppress(CommandError):
            issued.append(destroy.result().issued)
    assert issued, "both were refused"
    reclaim = dataclasses.replace(watch.result(), issued=min(issued))
    timings.record(Ended(victim.guest, "destroy", reclaim))
    victim.guest.release()
    assert abs(before - dom0.settled_free_bytes()) <= XEN_HEAP_BYTES, "memory was lost, or doubled"
    verdict = probe.read(frames)
    assert verdict.clean, str(verdict)


@pytest.mark.quick
@pytest.mark.control
def test_paused_guest_leaves_nothing(
    victim: Victim, probe: Probe, timings: Timings, toolstack: Toolstack, dom0: Dom0
) -> None:
    """A paused guest, whose vCPUs stand still in its kernel, leaves nothing."""
    frames = victim.fill()
    toolstack.pause(victim.guest.domid, dom0.patience("pausing the victim"))
    timings.record(victim.destroy(until="clean"))
    verdict = probe.read(frames)
    assert verdict.clean, str(verdict)


@pytest.mark.quick
@pytest.mark.control
def test_guest_that_never_ran_leaves_nothing(
    victim: Victim, probe: Probe, timings: Timings, guests: GuestFactory, dom0: Dom0
) -> None:
    """A guest that never ran leaves nothing, and all of its memory comes back.

    The guest is built at once of all memory, including the victim's. Pages that Xen assigns before
    they are scrubbed, and frees before anything reads them, keep the victim's bytes. Other pages
    hold bytes of the domain builder.
    """
    before = dom0.settled_free_bytes()
    frames = victim.fill()
    timings.record(victim.destroy(until="free"))
    unborn = DomainConfig(
        name=f"{guests.tag}-unborn",
        uuid=new_uuid(guests.tag),
        command_line="",
        memory_bytes=guests.most_bytes(),
        vcpus=1,
        paused=True,
        type=guests.victim_type,
    )
    step = f"{guests.toolstack.name}: {unborn.name}"
    deadline = dom0.patience(step, 2 * unborn.memory_bytes)
    created = guests.toolstack.create(unborn, deadline=deadline)
    guests.toolstack.destroy(created.domid, until="clean", deadline=deadline)
    assert abs(before - dom0.settled_free_bytes()) <= XEN_HEAP_BYTES, "memory is missing"
    verdict = probe.read(frames)
    assert verdict.clean, str(verdict)
