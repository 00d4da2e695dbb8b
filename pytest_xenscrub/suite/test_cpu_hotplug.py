# SPDX-License-Identifier: MIT
"""CPUs that go offline and online while memory waits for its scrub."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.dom0.client import XEN_HEAP_BYTES
from pytest_xenscrub.units import MIB, PAGE

if TYPE_CHECKING:
    from pytest_xenscrub.dom0.client import Dom0
    from pytest_xenscrub.dom0.hotplug import Hotplug
    from pytest_xenscrub.guest.factory import GuestFactory
    from pytest_xenscrub.run.managed_host import RunningXen
    from pytest_xenscrub.scrub.probe import Probe
    from pytest_xenscrub.scrub.timing import Timings
    from pytest_xenscrub.scrub.victim import Victim

LEAST_BACKLOG = 128 * MIB
MOST_SCRUBBED = 0.5
"""Share of a backlog that may be scrubbed while no CPU is idle: all stand still for a moment."""


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


@pytest.mark.slow
@pytest.mark.control
def test_cpu_does_not_scrub_while_it_goes_offline(
    victim: Victim, probe: Probe, timings: Timings, guests: GuestFactory, dom0: Dom0, *,
    running_xen: RunningXen, hotplug: Hotplug, last_cpu: int,
) -> None:  # fmt: skip
    """A CPU that goes offline leaves the backlog to others: whoever sent it away waits for it.

    What it scrubs meanwhile is counted, as its time says little: 1 GiB takes a CPU a fraction of a
    second, and a large host's backlog minutes. A spinning guest keeps other CPUs from scrubbing,
    which is seen first, for as long as a CPU takes that has nothing to scrub.
    """
    victim.memory_bytes = max(victim.memory_bytes, dom0.free_bytes() * 3 // 4)
    frames = victim.fill()
    spinner = guests.spinners()
    usual = hotplug.offline_cpu(last_cpu)
    hotplug.online_cpu(last_cpu)
    dom0.pin_vcpus(spinner.domid, spinner.config.vcpus)
    timings.record(victim.destroy(until="gone"))
    left = dom0.backlog_pages()
    time.sleep(usual)
    waiting = dom0.backlog_pages()
    seconds = hotplug.offline_cpu(last_cpu)
    still = dom0.backlog_pages()
    spinner.destroy(until="gone")
    hotplug.online_cpu(last_cpu)
    verdict = probe.read(frames)
    assert verdict.clean, str(verdict)
    if waiting * PAGE < LEAST_BACKLOG or left - waiting > waiting * MOST_SCRUBBED:
        pytest.skip(f"clean, but no backlog of Xen {running_xen.name} waited for an idle CPU")
    assert waiting - still <= waiting * MOST_SCRUBBED, (
        f"{waiting - still} of {waiting} pages were scrubbed before it was offline: CPU {last_cpu}"
        f" took {seconds:.2f} s, and {usual:.2f} s with no backlog"
    )
