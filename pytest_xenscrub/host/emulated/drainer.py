# SPDX-License-Identifier: MIT
"""Keeps the memory of this machine that an emulated host's sparse RAM takes below a limit."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from pytest_xenscrub.errors import InfrastructureError
from pytest_xenscrub.host.emulated.content import content_of
from pytest_xenscrub.units import GIB, MIB, gib

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_xenscrub.host.emulated.drain import Drain
    from pytest_xenscrub.host.emulated.standing import Standing

PERIOD_SECONDS: Final = 0.05
"""Time between two looks at the memory in use; two CPUs write 0.1 GiB meanwhile."""
_MOST_STEP: Final = 2 * GIB
_STEPS: Final = 4
"""A quarter of the limit may be written before pages are given back, but at most 2 GiB."""
_MOST_MARGIN: Final = 512 * MIB
_MARGINS: Final = 16


class Drainer:
    """A thread that gives pages of zeros back, and ends a machine that needs more than its limit.

    Args:
        drain: the machine's RAM.
        limit: bytes of this machine that the RAM may take.
        standing: stops the machine for a while.
        end: ends the machine, for a reason.
    """

    def __init__(
        self,
        drain: Drain,
        limit: int,
        standing: Standing,
        end: Callable[[InfrastructureError], None],
    ) -> None:
        self._drain = drain
        self._limit = limit
        self._standing = standing
        self._end = end
        margin = min(_MOST_MARGIN, limit // _MARGINS)
        self._step = min(_MOST_STEP, limit // _STEPS)
        self._high = limit - margin
        self._too_much = limit - 2 * margin
        self._floor = drain.used_bytes
        self.most_bytes = self._floor
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="xenscrub-drain", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread; may be called twice."""
        self._stop.set()
        self._thread.join()
        self._drain.close()

    def _run(self) -> None:
        try:
            while not self._stop.wait(PERIOD_SECONDS):
                used = self._drain.used_bytes
                self.most_bytes = max(self.most_bytes, used)
                if used < min(self._floor + self._step, self._high):
                    continue
                if not self._pass():
                    return
        except InfrastructureError:
            return  # QEMU has ended: the next use of the machine raises the error
        except OSError as error:
            self._end(InfrastructureError(f"the emulated host's RAM cannot be kept small: {error}"))

    def _pass(self) -> bool:
        """Give back all pages of zeros; returns whether the machine may go on."""
        with self._standing.still():
            self._drain.give_back(go_on=lambda: not self._stop.is_set())
            self._floor = self._drain.used_bytes
            if self._floor <= self._too_much or self._stop.is_set():
                return True
            self._end(self._needs_more())
        return False

    def _needs_more(self) -> InfrastructureError:
        return InfrastructureError(
            f"the emulated host needs more of this machine's memory than --xen-host-ram-limit"
            f" allows: {gib(self._floor)} of {gib(self._limit)} hold something, so it was ended",
            todo="let guests write less (--xen-guest-memory), or allow more (--xen-host-ram-limit)",
            evidence={"what it holds": content_of(self._drain)},
        )
