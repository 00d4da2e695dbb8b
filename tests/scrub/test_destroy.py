# SPDX-License-Identifier: MIT
"""The main path: a guest is destroyed and a probe reads what it left."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.deadline import Deadline
from pytest_xenscrub.guest.console import Event, Ranges, Ready
from pytest_xenscrub.scrub.verdict import Verdict
from pytest_xenscrub.toolstack.xl import MIB, GuestSpec

if TYPE_CHECKING:
    from pyroaring import BitMap64

    from pytest_xenscrub.dom0.client import Dom0
    from pytest_xenscrub.toolstack.xl import Xl

# Left free beside a probe: what Xen needs for the probe itself.
RESERVE_BYTES = 24 * MIB


def frames(events: list[Event]) -> dict[str, BitMap64]:
    return {event.kind: event.frames for event in events if isinstance(event, Ranges)}


@pytest.mark.quick
def test_destroyed_guest_leaves_nothing(dom0: Dom0, toolstack: Xl) -> None:
    clean_byte = dom0.info().clean_byte
    victim = toolstack.create(GuestSpec(dom0.free_bytes() // 3, 2, "fill", clean_byte), "victim")
    freed = frames(victim.wait_for(Ready, Deadline.after(60, "filling the victim")))["frames"]
    reclaim = victim.destroy()
    assert reclaim.clean is not None, "the backlog is not 0 yet"
    probe = toolstack.create(
        GuestSpec(dom0.free_bytes() - RESERVE_BYTES, 2, "scan", clean_byte), "probe"
    )
    seen = frames(probe.wait_for(Ready, Deadline.after(60, "reading all that is free")))
    verdict = Verdict(freed, seen["clean"], seen["residue"])
    assert verdict.clean, verdict
