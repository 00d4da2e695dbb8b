# SPDX-License-Identifier: MIT
"""What a scenario is given, faked: whoever is waited for lets its deadline pass."""

from __future__ import annotations

import inspect
import time
from typing import TYPE_CHECKING, Any, NoReturn
from unittest.mock import MagicMock

from pyroaring import BitMap64

from pytest_xenscrub.deadline import Deadline
from pytest_xenscrub.units import GIB, MIB

if TYPE_CHECKING:
    from collections.abc import Callable

WAITED = 60.0
"""How long was waited for what never comes, s."""


def spent(step: str, starved: float) -> Deadline:
    """A deadline for Xen whose time is over; the host was starved for so long meanwhile."""
    now = time.monotonic()
    return Deadline(step, WAITED, now - 1, lambda: starved, 0.0, now - 1)


def lets_it_pass(*arguments: Any, deadline: Deadline | None = None, **_: Any) -> NoReturn:
    """Whoever is asked for something with a deadline, and does not do it in time."""
    found = deadline or next(each for each in arguments if isinstance(each, Deadline))
    raise found.error()


def body(fixture: object) -> Callable[..., Any]:
    """What a fixture does, to be called as any other function."""
    wrapped: Any = fixture
    found: Callable[..., Any] = inspect.unwrap(wrapped)
    return found


class Parts:
    """Everything that a scenario may ask for.

    Args:
        starved: for how much of each wait the host was starved, s.
    """

    def __init__(self, starved: float = 0.0) -> None:
        self.dom0 = MagicMock(name="dom0", total_bytes=4 * GIB)
        self.dom0.patience = lambda step, *_, **__: spent(step, starved)
        self.dom0.wait_drained = self.dom0.run = self.dom0.watch = lets_it_pass
        self.dom0.settled_free_bytes.return_value = self.dom0.free_bytes.return_value = 2 * GIB
        self.dom0.backlog_pages.return_value = 0
        self.dom0.claimed_bytes.return_value = 0
        self.dom0.evidence.return_value = {}
        self.toolstack = MagicMock(name="xl", claims=(True, False))
        self.toolstack.name = "xl"
        self.toolstack.create = self.toolstack.destroy = self.toolstack.pause = lets_it_pass
        self.guests = MagicMock(
            dom0=self.dom0, toolstack=self.toolstack, tag="xs-12ab34", victim_type="pv", run=1
        )
        self.guests.most_bytes.return_value = 2 * GIB
        self.victim = MagicMock(memory_bytes=64 * MIB)
        self.victim.fill.return_value = BitMap64(range(100))
        self.victim.guest.domid = 5
        self.victim.guest.frames = BitMap64(range(100))
        self.probe = MagicMock()
        self.timings = MagicMock()
        self.oracle = MagicMock()
        self.hotplug = MagicMock()
        self.mapping = MagicMock()
        self.xen = MagicMock(defers=False)
        self.xen.name = "sync"
        self.xen.info.cpus = 2
        self.xen.info.nodes = 2

    def usual(self) -> tuple[Any, Any, Any]:
        """What most scenarios begin with."""
        return self.victim, self.probe, self.timings
