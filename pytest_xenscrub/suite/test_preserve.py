# SPDX-License-Identifier: MIT
"""A guest that crashed and is preserved for a debugger."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.dom0.client import XEN_HEAP_BYTES

if TYPE_CHECKING:
    from pytest_xenscrub.dom0.client import Dom0
    from pytest_xenscrub.dom0.mapping import ForeignMapping
    from pytest_xenscrub.scrub.probe import Probe
    from pytest_xenscrub.scrub.timing import Timings
    from pytest_xenscrub.scrub.victim import Victim
    from pytest_xenscrub.toolstack.protocol import Toolstack

SEEN_PAGES = 64


def wait_crashed(toolstack: Toolstack, dom0: Dom0, domid: int) -> None:
    """Wait until the toolstack has seen and handled a domain's crash."""
    deadline = dom0.patience(f"{toolstack.name}: noticing that domain {domid} crashed")
    # xl says that it crashed (c), libvirt that it is shut off (s).
    while not any(d.domid == domid and {*d.state} & {*"cs"} for d in toolstack.list(deadline)):
        deadline.check()
        time.sleep(0.1)


@pytest.mark.quick
@pytest.mark.control
def test_preserved_guest_is_scrubbed_when_destroyed(
    victim: Victim, probe: Probe, timings: Timings, toolstack: Toolstack, *,
    dom0: Dom0, mapping: ForeignMapping,
) -> None:  # fmt: skip
    """A preserved guest keeps its memory after the crash, and is scrubbed when destroyed.

    A Xen that scrubs when a domain shuts down, and not when it dies, scrubs too early here, under
    the eyes of a debugger, and not at all later.
    """
    victim.on_crash = "preserve"
    frames = victim.fill()
    domid = victim.guest.domid
    (alive,) = [d for d in dom0.domains() if d.domid == domid]
    free = dom0.settled_free_bytes()
    some = victim.guest.some_frames(SEEN_PAGES)
    mapping.map(domid, victim.guest.mappable(some))
    filled = mapping.hash()

    dom0.crash(domid)
    wait_crashed(toolstack, dom0, domid)
    assert abs(dom0.settled_free_bytes() - free) <= XEN_HEAP_BYTES, "memory came free too early"
    assert dom0.backlog_pages() == 0, "something is to be scrubbed, and nothing has died"
    (preserved,) = [d for d in dom0.domains() if d.domid == domid]
    assert not preserved.dying
    assert preserved.memory_bytes == alive.memory_bytes
    assert mapping.hash() == filled, "pages were changed, and nothing has died"
    mapping.release()

    timings.record(victim.destroy(until="clean"))
    verdict = probe.read(frames)
    assert verdict.clean, str(verdict)
