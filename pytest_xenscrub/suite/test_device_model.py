# SPDX-License-Identifier: MIT
"""The device model of an HVM guest: a process in dom0 that shares pages with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.dom0.client import XEN_HEAP_BYTES
from pytest_xenscrub.units import PAGE

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_xenscrub.dom0.client import Dom0
    from pytest_xenscrub.scrub.probe import Probe
    from pytest_xenscrub.scrub.timing import Timings
    from pytest_xenscrub.scrub.victim import Victim

    from .conftest import DeviceModel, WaitZombie

    ModelOf = Callable[[int], DeviceModel]

MAPPED_BYTES = 16 * PAGE
"""Upper bound on what it has mapped: the pages that requests for it are put into."""

pytestmark = [pytest.mark.quick, pytest.mark.control]


def test_guest_without_its_device_model_leaves_nothing(
    victim: Victim, probe: Probe, timings: Timings, dom0: Dom0, device_model: ModelOf
) -> None:
    """It was killed: Xen itself gives up what it had of the guest, and the toolstack misses it."""
    before = dom0.settled_free_bytes()
    frames = victim.fill()
    device_model(victim.guest.domid).kill()
    timings.record(victim.destroy(until="clean"))
    assert abs(before - dom0.settled_free_bytes()) <= XEN_HEAP_BYTES, "memory is missing"
    verdict = probe.read(frames)
    assert verdict.clean, str(verdict)


def test_guest_whose_device_model_outlives_it_leaves_nothing(
    victim: Victim,
    probe: Probe,
    timings: Timings,
    dom0: Dom0,
    device_model: ModelOf,
    *,
    wait_zombie: WaitZombie,
) -> None:
    """It stands still, and goes on once all but what it has mapped of the guest is free.

    The toolstack tells it to end, and does not wait for that.
    """
    before = dom0.settled_free_bytes()
    frames = victim.fill()
    model = device_model(victim.guest.domid)
    model.stop()
    dying = victim.start_destroy(until="clean")
    wait_zombie(victim.guest.domid, MAPPED_BYTES)
    model.cont()
    timings.record(dying.result())
    assert abs(before - dom0.settled_free_bytes()) <= XEN_HEAP_BYTES, "memory is missing"
    verdict = probe.read(frames)
    assert verdict.clean, str(verdict)
