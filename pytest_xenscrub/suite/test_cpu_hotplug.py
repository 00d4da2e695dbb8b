# SPDX-License-Identifier: MIT
"""CPUs that go offline and online while memory waits for its scrub."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.dom0.client import XEN_HEAP_BYTES

if TYPE_CHECKING:
    from pytest_xenscrub.dom0.client import Dom0
    from pytest_xenscrub.dom0.hotplug import Hotplug
    from pytest_xenscrub.guest.factory import GuestFactory
    from pytest_xenscrub.run.rig import RunningXen
    from pytest_xenscrub.scrub.probe import Probe
    from pytest_xenscrub.scrub.timing import Timings
    from pytest_xenscrub.scrub.victim import Victim


@pytest.fixture
def last_cpu(running_xen: RunningXen) -> int:
    """The CPU that goes offline and online; CPU 0 cannot."""
    if running_xen.info.cpus == 1:
        pytest.skip("the host has a single CPU, which cannot go offline")
    return running_xen.info.cpus - 1


@pytest.mark.slow
@pytest.mark.control
def test_backlog_drains_without_the_cpu_that_went_offline(
    victim: Victim, probe: Probe, timings: Timings, guests: GuestFactory, dom0: Dom0, *,
    running_xen: RunningXen, hotplug: Hotplug, last_cpu: int,
) -> None:  # fmt: skip
    """Other CPUs scrub the backlog of a CPU that went offline.

    A spinning guest keeps every CPU busy, so that all of the backlog still waits when the CPU goes;
    then the other CPUs become idle.
    """
    before = dom0.settled_free_bytes()
    frames = victim.fill()
    spinner = guests.spinners()
    timings.record(victim.destroy(until="gone"))
    backlog = dom0.backlog_pages()
    hotplug.offline_cpu(last_cpu)
    spinner.destroy(until="gone")
    dom0.wait_drained(dom0.patience(f"the backlog without CPU {last_cpu}", dom0.total_bytes))
    hotplug.online_cpu(last_cpu)
    assert abs(before - dom0.settled_free_bytes()) <= XEN_HEAP_BYTES, "memory is missing"
    verdict = probe.read(frames)
    assert verdict.clean, str(verdict)
    if not backlog:
        pytest.skip(f"clean, but Xen {running_xen.name} had no backlog any more when the CPU went")


@pytest.mark.slow
@pytest.mark.control
def test_cpu_comes_and_goes_while_guest_dies(
    victim: Victim, probe: Probe, timings: Timings, dom0: Dom0, *,
    hotplug: Hotplug, last_cpu: int,
) -> None:  # fmt: skip
    """A CPU may go offline in the middle of a page's scrub, and come back to new work."""
    victim.memory_bytes = max(victim.memory_bytes, dom0.free_bytes() * 3 // 4)
    before = dom0.settled_free_bytes()
    frames = victim.fill()
    dying = victim.start_destroy(until="clean")
    while not dying.done():
        hotplug.offline_cpu(last_cpu)
        hotplug.online_cpu(last_cpu)
    timings.record(dying.result())
    assert abs(before - dom0.settled_free_bytes()) <= XEN_HEAP_BYTES, "memory is missing"
    verdict = probe.read(frames)
    assert verdict.clean, str(verdict)
