# SPDX-License-Identifier: MIT
"""Guests in a CPU pool of their own: Xen moves a dying domain to the default pool."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.dom0.cpupool import CpuPool
from pytest_xenscrub.errors import XenScrubError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_xenscrub.dom0.client import Dom0
    from pytest_xenscrub.guest.factory import GuestFactory
    from pytest_xenscrub.run.managed_host import ManagedHost, RunningXen
    from pytest_xenscrub.scrub.probe import Probe
    from pytest_xenscrub.scrub.timing import Timings
    from pytest_xenscrub.scrub.victim import Victim


@pytest.fixture(params=["credit", "credit2"])
def pool(
    request: pytest.FixtureRequest, guests: GuestFactory, dom0: Dom0, running_xen: RunningXen, *,
    managed_host: ManagedHost,
) -> Iterator[CpuPool]:  # fmt: skip
    """A CPU pool of all CPUs but the first; if it cannot be removed, the host is started anew."""
    if running_xen.info.cpus == 1:
        pytest.skip("the host has a single CPU, which dom0 needs")
    made = CpuPool(dom0, f"{guests.tag}-pool", request.param, range(1, running_xen.info.cpus))
    yield made
    if not managed_host.healthy():
        return
    try:
        made.close()
    except XenScrubError as error:
        managed_host.broke(str(error))


@pytest.mark.slow
@pytest.mark.control
def test_guest_of_a_cpu_pool_leaves_nothing(
    victim: Victim, probe: Probe, timings: Timings, *, pool: CpuPool
) -> None:
    """A guest of a CPU pool with another scheduler is destroyed, and leaves the pool empty.

    A pool that still counts a dead guest cannot be destroyed, so its CPUs are lost for others.
    """
    frames = victim.fill()
    pool.take_in(victim.guest.domid)
    assert pool.domains() == 1
    timings.record(victim.destroy())
    assert pool.domains() == 0, "the CPU pool still counts a dead guest"
    pool.close()
    verdict = probe.read(frames)
    assert verdict.clean, str(verdict)
