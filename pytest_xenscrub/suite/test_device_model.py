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
"""Upper bound on what the device model has mapped: the pages for requests to it."""

pytestmark = [pytest.mark.quick, pytest.mark.control]


def test_guest_without_its_device_model_leaves_nothing(
    victim: Victim, probe: Probe, timings: Timings, dom0: Dom0, device_model: ModelOf
) -> None:
    """A guest whose device model was killed leaves nothing.

    Xen itself drops the device model's mappings of the guest, and the toolstack does not find the
    process.
    """
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
    """A guest leaves nothing if its device model is stopped, outlives it, and continues later.

    The device model continues once all of the guest's memory is free except what it has mapped. The
    toolstack tells it to end, but does not wait for that.
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
