# SPDX-License-Identifier: MIT
"""Pages of a dead guest that dom0 still has mapped: they are not free yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.scrub.scenario import require
from pytest_xenscrub.units import PAGE

if TYPE_CHECKING:
    from pytest_xenscrub.dom0.client import Dom0
    from pytest_xenscrub.dom0.mapping import ForeignMapping
    from pytest_xenscrub.scrub.probe import Probe
    from pytest_xenscrub.scrub.timing import Timings
    from pytest_xenscrub.scrub.victim import Victim

    from .conftest import WaitZombie

HELD_PAGES = 64


@pytest.mark.quick
@pytest.mark.control
def test_pages_held_by_dom0_are_scrubbed_when_released(
    victim: Victim,
    probe: Probe,
    timings: Timings,
    dom0: Dom0,
    mapping: ForeignMapping,
    *,
    wait_zombie: WaitZombie,
) -> None:
    """A page that dom0 had mapped is scrubbed when dom0 unmaps it, long after the destroy.

    Until then Xen must not scrub it: dom0 may read it, or a backend may write to it. A page that
    comes free that late needs the same scrub as all others.
    """
    frames = victim.fill()
    held = victim.guest.some_frames(HELD_PAGES)
    mapping.map(victim.guest.domid, victim.guest.mappable(held))
    filled = mapping.hash()

    dying = victim.start_destroy(until="clean")
    zombie = wait_zombie(victim.guest.domid, HELD_PAGES * PAGE)
    dom0.wait_drained(dom0.patience("scrubbing what is not held", dom0.total_bytes))
    assert zombie.memory_bytes == HELD_PAGES * PAGE
    assert not dying.done()
    assert mapping.hash() == filled, "pages were changed while dom0 had them mapped"

    mapping.release()
    timings.record(dying.result())
    verdict = probe.read(frames)
    assert verdict.clean, str(verdict)
    require(held & verdict.covered, "no page that was held was read")
