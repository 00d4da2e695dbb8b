# SPDX-License-Identifier: MIT
"""Several NUMA nodes: each has its own heap, backlog and CPUs, or no CPUs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pyroaring import BitMap64

from pytest_xenscrub.scrub.scenario import require

if TYPE_CHECKING:
    from pytest_xenscrub.dom0.client import Dom0
    from pytest_xenscrub.guest.factory import GuestFactory
    from pytest_xenscrub.run.managed_host import RunningXen
    from pytest_xenscrub.scrub.probe import Probe
    from pytest_xenscrub.scrub.timing import Timings
    from pytest_xenscrub.scrub.victim import Victim

LEAST_FRAMES = 1024


@pytest.fixture
def nodes(dom0: Dom0, running_xen: RunningXen) -> dict[int, range]:
    """The host's NUMA nodes."""
    if running_xen.info.nodes == 1:
        pytest.skip(
            "the host has one NUMA node; an emulated one has several with --xen-host-nodes=N"
        )
    return dom0.nodes()


@pytest.mark.slow
@pytest.mark.control
def test_backlog_of_each_node_drains(
    victim: Victim, probe: Probe, timings: Timings, guests: GuestFactory, dom0: Dom0, *,
    running_xen: RunningXen, nodes: dict[int, range],
) -> None:  # fmt: skip
    """The backlog of each node drains; CPUs of other nodes scrub a node without CPUs.

    The victim has most of the memory, so that it has some of every node. While all CPUs spin,
    nothing is scrubbed on any node; afterwards all of it must be, and be clean. A pinned probe
    reads each node with CPUs, if the toolstack can place it.
    """
    victim.memory_bytes = guests.most_bytes() * 15 // 16
    frames = victim.fill()
    of_node = {node: frames & BitMap64(mfns) for node, mfns in nodes.items()}
    for node, found in of_node.items():
        require(len(found) >= LEAST_FRAMES, f"the victim has next to nothing of node {node}")

    spinner = guests.spinners()
    timings.record(victim.destroy(until="gone"))
    backlog = dom0.backlog_of_nodes()
    spinner.destroy(until="gone")
    dom0.wait_drained(dom0.patience("the backlog of all nodes", dom0.total_bytes))
    pinned = []
    for node in dom0.free_bytes_of_nodes() if guests.toolstack.places else ():
        pinned.append(guest := probe.create(guests.most_bytes(node), node=node))
        strays = guest.frames - BitMap64(nodes[node])
        assert not strays, f"{guest.name} has {len(strays)} frames that are not of node {node}"
    verdict = probe.read(frames, beside=pinned)
    assert verdict.clean, str(verdict)
    for node, found in of_node.items():
        read = len(found & verdict.covered) / len(found & verdict.filled)
        assert read >= verdict.min_coverage, f"of node {node} only {read:.2%} was read: {verdict}"
    if running_xen.defers:
        require({*backlog} == {*nodes}, "not every node had a backlog")
