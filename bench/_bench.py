# SPDX-License-Identifier: MIT
"""What the benches share: guests to destroy, and the line that each figure is."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.run.stash import SESSION
from pytest_xenscrub.units import GIB

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_xenscrub.dom0.client import Dom0
    from pytest_xenscrub.guest.factory import GuestFactory
    from pytest_xenscrub.guest.guest import Guest

ROUNDS = 15


@dataclasses.dataclass(frozen=True)
class Limit:
    """What a figure may be; shown beside it."""

    least: float = 0.0
    most: float = math.inf

    def holds(self, figure: float) -> bool:
        return self.least <= figure <= self.most

    def show(self, unit: str) -> str:
        if self.most == math.inf:
            return f">= {self.least:g}{unit}"
        return f"{f'{self.least:g} to ' if self.least else '<= '}{self.most:g}{unit}"


def report(what: str, figure: float, unit: str, limit: Limit | None = None) -> None:
    """Print a line of the table, now; a figure over its limit fails the bench."""
    shown = f"{figure:.3f}{unit}" if abs(figure) < 100 else f"{figure:.0f}{unit}"
    holds = limit is None or limit.holds(figure)
    beside = "" if limit is None else f"{limit.show(unit):<14} {'ok' if holds else 'OVER'}"
    print(f"\n{what:<62} {shown:>14}  {beside}".rstrip(), end="", flush=True)
    assert holds, f"{what}: {shown}, and the limit is {beside}"


def emulated_memory(config: pytest.Config) -> int:
    """Of the emulated host that is wanted, bytes; skips the bench if another host is."""
    options = config.stash[SESSION].options
    if not options.host or not options.host[0].emulated:
        pytest.skip("for --xen-host=emulated")
    return options.host_memory or 3 * GIB


def filled(guests: GuestFactory, dom0: Dom0, memory_bytes: int) -> Guest:
    """A guest that has filled its memory, on a host with no backlog."""
    dom0.wait_drained(dom0.patience("backlog", dom0.total_bytes))
    guest = guests.create("victim", memory_bytes, "fill")
    guest.ready()
    return guest


def in_turns(measure: Callable[[bool], float]) -> list[tuple[float, float]]:
    """What `measure` tells of the one way (True) and of the other, ROUNDS times.

    Neighbours in time are compared, in turns of order: what drifts falls out.
    """
    pairs = []
    for number in range(ROUNDS):
        took = {way: measure(way) for way in ((True, False) if number % 2 else (False, True))}
        pairs.append((took[True], took[False]))
    return pairs


def destroy_seconds(guest: Guest) -> float:
    """The table's `destroy` of a guest."""
    reclaim = guest.destroy(until="clean").reclaim
    assert reclaim.returned is not None
    return reclaim.returned - reclaim.issued
