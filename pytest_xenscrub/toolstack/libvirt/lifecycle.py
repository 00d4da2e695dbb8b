# SPDX-License-Identifier: MIT
"""libvirt's events about the lives of domains."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import libvirt

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_xenscrub.deadline import Deadline
    from pytest_xenscrub.dom0.client import Dom0

_WAIT_SECONDS = 1.0


class Lifecycle:
    """Domains that started or stopped, by domid, which is unique until dom0 reboots."""

    def __init__(self, dom0: Dom0) -> None:
        self._dom0 = dom0
        self._changed = threading.Condition()
        self._started: set[int] = set()
        self._stopped: set[int] = set()
        self._closed = False

    def heard(
        self, _connection: object, domain: libvirt.virDomain, event: int, _detail: int, _: object
    ) -> None:
        """Note an event; called by libvirt's event loop."""
        with self._changed:
            if event == libvirt.VIR_DOMAIN_EVENT_STARTED:
                self._started.add(domain.ID())
            elif event == libvirt.VIR_DOMAIN_EVENT_STOPPED:
                self._stopped.add(domain.ID())
            self._changed.notify_all()

    def closed(self) -> None:
        """Note that no more events will come."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def wait_started(self, domid: int, deadline: Deadline) -> None:
        """Wait until libvirt reports that a domain started; raises as `api.call` does."""
        self._wait(lambda: domid in self._started, deadline)

    def wait_stopped(self, domid: int, deadline: Deadline) -> None:
        """Wait until libvirt reports that a domain stopped; raises as `api.call` does."""
        self._wait(lambda: domid in self._stopped, deadline)

    def _wait(self, happened: Callable[[], bool], deadline: Deadline) -> None:
        """Wait for an event; returns early if none can come any more: the next call raises."""
        while True:
            with self._changed:
                wait = min(deadline.remaining, _WAIT_SECONDS)
                if self._changed.wait_for(lambda: happened() or self._closed, wait):
                    return
            deadline.check(**self._dom0.evidence())
            self._dom0.check_alive(deadline.step)
