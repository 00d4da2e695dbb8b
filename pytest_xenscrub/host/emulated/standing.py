# SPDX-License-Identifier: MIT
"""Has an emulated machine stand still, its clock included, for one who needs that at a time."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

STOP_SECONDS = 120.0


class Monitor(Protocol):
    """What runs QMP commands."""

    def __call__(self, command: str, *, seconds: float) -> Any:
        """Run one."""


class Standing:
    """When one machine stands still, and how long it has.

    Two who each stop and continue it would continue it under each other's hands.

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
        """Have it stand still meanwhile; it goes on however that ends.

        Args:
            seconds: what QEMU may take to answer, s.

        Raises:
            InfrastructureError: QEMU is gone.
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
        """How long it has stood still so far, s."""
        with self._account:
            return self._stood + (0.0 if self._since is None else time.monotonic() - self._since)
