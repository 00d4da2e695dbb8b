# SPDX-License-Identifier: MIT
"""Tells a boot that hangs from one that is only slow."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pytest_xenscrub.deadline import STARVED_SHARE
from pytest_xenscrub.errors import XenHungError

if TYPE_CHECKING:
    from collections.abc import Callable

_XEN_RUNS = b"(XEN)"
"""Beginning of Xen's lines on the serial line: Xen is not to blame for anything before the
first."""


class BootWatch:
    """Watches a boot by its traces: a serial log that grows, a disk that is read.

    Args:
        hang_seconds: time without progress that counts as a hang, s.
        starved_seconds: how long other work has kept the machine from running so far, s.
        disk_bytes: bytes read from and written to the machine's disk so far; asked only if the
            serial log has not grown for a while.
    """

    def __init__(
        self,
        hang_seconds: float,
        starved_seconds: Callable[[], float],
        disk_bytes: Callable[[], int],
    ) -> None:
        self._hang_seconds = hang_seconds
        self._starved_seconds = starved_seconds
        self._disk_bytes = disk_bytes
        self._began = time.monotonic(), starved_seconds()
        self._said = 0
        self._moved_disk = -1
        self._moved()

    @property
    def starved(self) -> bool:
        """Whether the machine was kept from running for much of the time since the boot began."""
        began, kept = self._began
        return self._starved_seconds() - kept > STARVED_SHARE * (time.monotonic() - began)

    def _moved(self) -> None:
        self._since = time.monotonic()
        self._starved = self._starved_seconds()

    def check(self, serial: bytes, tail: Callable[[], str]) -> None:
        """Look for progress.

        Raises:
            XenHungError: Xen was started, and there was no progress for too long, although the
                machine was not starved meanwhile.

        Args:
            serial: the machine's serial log.
            tail: gives the log's last lines.
        """
        if len(serial) != self._said:
            self._said = len(serial)
            self._moved()
        silent = time.monotonic() - self._since
        if silent < self._hang_seconds / 4 or _XEN_RUNS not in serial:
            return
        moved, self._moved_disk = self._moved_disk, self._disk_bytes()
        if moved not in (-1, self._moved_disk):
            self._moved()
            return
        starved = max(0.0, self._starved_seconds() - self._starved)
        if silent - starved >= self._hang_seconds and starved <= STARVED_SHARE * silent:
            raise XenHungError(
                f"Xen or its dom0 hangs while it boots: nothing on the serial line, and nothing"
                f" read from the disk, for {silent:.0f} s",
                todo="look at the serial log's end: it says how far the boot came",
                evidence={"serial log": tail()},
            )
