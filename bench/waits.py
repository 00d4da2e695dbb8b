# SPDX-License-Identifier: MIT
"""A plugin for one run of pytest: how much of its wall time is spent in Xen and in guests.

That is while at least one of its threads waits for the host to start and to have its RAM, for an
answer of the agent in dom0, for a command there, for a guest's console, for the backlog to be
scrubbed, or for a guest that reboots. What is left is ours: what decodes, judges, looks whether
free memory stands still, starts ssh, and pytest itself. Written to the file that XENSCRUB_WAITS
names, as "wall waited", s.
"""

from __future__ import annotations

import functools
import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class Waits:
    """The time in which at least one thread waits, s."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.waited = 0.0
        self._waiting = 0
        self._since = 0.0
        self._lock = threading.Lock()

    def _count(self, by: int) -> None:
        now = time.monotonic()
        with self._lock:
            if self._waiting:
                self.waited += now - self._since
            self._waiting += by
            self._since = now

    def counted(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wait(*args: Any, **kwargs: Any) -> Any:
            self._count(1)
            try:
                return function(*args, **kwargs)
            finally:
                self._count(-1)

        return wait


WAITS = Waits()


def pytest_sessionstart() -> None:
    from pytest_xenscrub.boot.deploy_emulated import EmulatedDeployment
    from pytest_xenscrub.dom0.client import Dom0
    from pytest_xenscrub.guest.guest import Guest
    from pytest_xenscrub.host.emulated.host import EmulatedHost
    from pytest_xenscrub.host.ssh import SshHost
    from pytest_xenscrub.toolstack.xl_console import XlConsole

    for owner, name in (
        (EmulatedDeployment, "start"),
        (EmulatedHost, "settle"),
        (Dom0, "_await"),
        (Dom0, "wait_drained"),
        (Guest, "_find_again"),
        (SshHost, "run"),
        (XlConsole, "read"),
    ):
        setattr(owner, name, WAITS.counted(getattr(owner, name)))


def pytest_unconfigure() -> None:
    wall = time.monotonic() - WAITS.began
    Path(os.environ["XENSCRUB_WAITS"]).write_text(f"{wall} {WAITS.waited}")
