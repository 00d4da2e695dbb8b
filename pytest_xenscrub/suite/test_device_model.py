# SPDX-License-Identifier: MIT
"""The device model of an HVM guest: a process in dom0 that shares pages with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.dom0.client import XEN_HEAP_BYTES

if TYPE_CHECKING:
    from pytest_xenscrub.dom0.client import Dom0
    from pytest_xenscrub.scrub.probe import Probe
    from pytest_xenscrub.scrub.timing import Timings
    from pytest_xenscrub.scrub.victim import Victim

    from .conftest import DeviceModel

pytestmark = [pytest.mark.quick, pytest.mark.control]


def test_guest_without_its_device_model_leaves_nothing(
    victim: Victim, probe: Probe, timings: Timings, dom0: Dom0, device_model: DeviceModel
) -> None:
    """It was killed: Xen itself gives up what it had of the guest, and the toolstack misses it."""
    before = dom0.settled_free_bytes()
    frames = victim.fill()
    device_model.signal("KILL")
    timings.record(victim.destroy(until="clean"))
    assert abs(before - dom0.settled_free_bytes()) <= XEN_HEAP_BYTES, "memory is missing"
    verdict = probe.read(frames)
    assert verdict.clean, str(verdict)
