# SPDX-License-Identifier: MIT
"""Stops an emulated machine and its clock for a while, for one caller at a time."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

STOP_SECONDS = 120.0


class Monitor(Protocol):
    """A function that runs QMP commands."""

    def __call__(self, command: str, *, seconds: float) -> Any:
        """Run a command."""


class Standing:
    """Stops one machine for a while, and counts for how long.

    If two threads stopped and continued the machine by themselves, one would continue it while the
    other still needs it stopped.

    Args:
        qmp: the machine's monitor.
    """

    def __init__(self, qmp: Monitor) -> None:
        self._qmp = qmp
        self._one = threading.Lock()
        self._account = threading.Lock()
        self._stood = 0.0
        self._since: float | None = None

    @contextmanager
    def still(self, *, seconds: float = STOP_SECONDS) -> Iterator[None]:
        """Stop the machine in the with block; it goes on afterwards, even after an error.

        Args:
            seconds: limit for QEMU's answers, s.

        Raises:
            InfrastructureError: QEMU has ended.
        """
        with self._one:
            self._qmp("stop", seconds=seconds)
            began = self._since = time.monotonic()
            try:
                yield
            finally:
                with self._account:
                    self._since = None
                    self._stood += time.monotonic() - began
                self._qmp("cont", seconds=seconds)

    def stood_seconds(self) -> float:
        """How long the machine was stopped so far, s."""
        with self._account:
            return self._stood + (0.0 if self._since is None else time.monotonic() - self._since)
