# SPDX-License-Identifier: MIT
"""What the benches share: guests to destroy, and the line that each figure is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_xenscrub.deadline import Deadline

if TYPE_CHECKING:
    from pytest_xenscrub.dom0.client import Dom0
    from pytest_xenscrub.guest.factory import GuestFactory
    from pytest_xenscrub.guest.guest import Guest

ROUNDS = 15
_DRAIN_SECONDS = 60.0


def say(what: str, figure: str, limit: str = "", ok: bool = True) -> bool:
    """Print a line of the table, now; returns `ok`."""
    mark = "" if not limit else "ok" if ok else "OVER"
    print(f"{what:<58} {figure:>18}  {limit:<16} {mark}".rstrip(), flush=True)
    return ok


def filled(guests: GuestFactory, dom0: Dom0, memory_bytes: int) -> Guest:
    """A guest that has filled its memory, on a host with no backlog."""
    dom0.wait_drained(Deadline.after(_DRAIN_SECONDS, "backlog"))
    guest = guests.create("victim", memory_bytes, "fill")
    guest.ready()
    return guest


def destroy_seconds(guest: Guest) -> float:
    """The table's `destroy` of a guest."""
    reclaim = guest.destroy(until="clean").reclaim
    assert reclaim.returned is not None
    return reclaim.returned - reclaim.issued
