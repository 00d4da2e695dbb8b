# SPDX-License-Identifier: MIT
"""Reserves a host for a run: the first free one of the pool; locks it, then removes leftovers."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pytest_xenscrub.deadline import Deadline
from pytest_xenscrub.errors import HostLockedError, HostUnusableError, InfrastructureError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from pytest_xenscrub.dom0.lock import Holder, HostLock
    from pytest_xenscrub.host.description import HostDescription
    from pytest_xenscrub.host.labgrid_place import LabgridPlace
    from pytest_xenscrub.host.ssh import SshHost
    from pytest_xenscrub.telling import Say

_TURN_SECONDS = 5.0
"""Longest wait for one of several busy hosts before the next one is tried, s."""
_LOGIN_SECONDS = 60.0
_LEFTOVERS_SECONDS = 600.0
"""Time to remove what a dead run left, with a reboot, s."""


class Reservation:
    """The run's host, reserved from the first `get` until `release`.

    Args:
        candidates: the hosts, the best first.
        holder: this run, as others see it in the host's lock.
        config: an ssh configuration in place of the user's own.
        wait_seconds: longest wait while all hosts are in use, s.
        allow_busy: whether other users' guests may run on the host.
        place_of: gives a host's place in labgrid.
        say: prints a line for the user.
    """

    def __init__(
        self,
        candidates: Sequence[HostDescription],
        holder: Holder,
        *,
        config: Path | None,
        wait_seconds: float,
        allow_busy: bool,
        place_of: Callable[[HostDescription], LabgridPlace],
        say: Say,
    ) -> None:
        self._candidates = candidates
        self._holder = holder
        self._config = config
        self._wait_seconds = wait_seconds
        self._allow_busy = allow_busy
        self._place_of = place_of
        self._places: dict[str, LabgridPlace] = {}
        self._say = say
        self._chosen: HostDescription | None = None
        self._host: SshHost | None = None
        self._lock: HostLock | None = None
        self._failed: InfrastructureError | None = None

    def get(self) -> HostDescription:
        """Reserve a host, unless this was done before, and return it.

        Raises:
            HostLockedError: all hosts are in use; the error says by whom.
            HostBusyError: other users' guests run on the host.
            InfrastructureError: no host can be used.
            HostUnusableError: an earlier call failed.
        """
        if self._failed is not None:
            raise HostUnusableError(f"no host is available: {self._failed.what}")
        if self._chosen is None:
            try:
                self._chosen = self._choose()
            except InfrastructureError as error:
                self._failed = error
                raise
            finally:
                if self._chosen is None:
                    self.release()
        return self._chosen

    def again(self) -> None:
        """Take the lock again after the host was rebooted; does nothing without a lock.

        Raises:
            HostLockedError: another run has the lock now.
            InfrastructureError: the host cannot be reached.
        """
        if self._lock is not None and self._host is not None:
            # ssh's master does not notice that a reset has cut its connection.
            self._host.disconnect()
            self._lock.again()

    def check(self) -> None:
        """Take the lock again if its connection was lost."""
        if self._lock is not None and not self._lock.held:
            self.again()

    def release(self) -> None:
        """Release the machine. Never raises; may be called twice."""
        self._let_go()
        for place in self._places.values():
            place.leave()
        self._places.clear()

    def _let_go(self) -> None:
        """Release the host, but keep the run's turn in labgrid's queue."""
        lock, self._lock = self._lock, None
        host, self._host = self._host, None
        if lock is not None:
            lock.release()
        if host is not None:
            host.close()
        for place in self._places.values():
            place.release()

    def _choose(self) -> HostDescription:
        end = time.monotonic() + self._wait_seconds
        several = len(self._candidates) > 1
        turn = 0.0  # a free one is not looked at only after each busy one was waited for
        tried: dict[str, InfrastructureError] = {}
        left = list(self._candidates)
        while True:
            for described in list(left):
                if described.emulated:
                    return described
                wait = max(0.0, end - time.monotonic())
                try:
                    return self._reserve(described, min(wait, turn) if several else wait)
                except InfrastructureError as error:
                    self._let_go()
                    tried[described.name] = error
                    if not isinstance(error, HostLockedError):
                        left.remove(described)  # waiting does not help with other errors
            if not left or time.monotonic() >= end:
                break
            turn = _TURN_SECONDS
        if not several:
            raise next(iter(tried.values()))
        kind = HostLockedError if left else InfrastructureError
        raise kind(
            f"none of {len(self._candidates)} hosts can be had:"
            f" {'; '.join(error.what for error in tried.values())}",
            todo="wait for one (--xen-lock-wait=S), or name others",
            evidence={name: str(error) for name, error in tried.items()},
        )

    def _take(self, described: HostDescription, wait_seconds: float) -> HostDescription:
        """Let labgrid choose the machine, if the host is a place of labgrid's."""
        if not described.place:
            return described
        if described.name not in self._places:
            self._places[described.name] = self._place_of(described)
        return self._places[described.name].take(wait_seconds)

    def _reserve(self, described: HostDescription, wait_seconds: float) -> HostDescription:
        from pytest_xenscrub.boot.command_boot import go_back  # noqa: PLC0415 - only with a machine
        from pytest_xenscrub.boot.leftovers import (  # noqa: PLC0415 - as above
            refuse_busy,
            remove_leftovers,
        )
        from pytest_xenscrub.boot.login import check_login  # noqa: PLC0415 - as above
        from pytest_xenscrub.dom0.lock import HostLock  # noqa: PLC0415 - only with a machine
        from pytest_xenscrub.host.power import try_commands  # noqa: PLC0415 - as above
        from pytest_xenscrub.host.ssh import SshHost  # noqa: PLC0415 - as above

        described = self._take(described, wait_seconds)
        if described.target is None:
            raise TypeError(f"{described.name} is not reached over ssh")
        host = self._host = SshHost(described.target, config=self._config, name=described.name)
        check_login(host, Deadline.after(_LOGIN_SECONDS, f"{host.name}: looking at its login"))
        lock = self._lock = HostLock(host, self._holder, self._say)
        lock.acquire(wait_seconds)
        deadline = Deadline.after(_LEFTOVERS_SECONDS, f"{host.name}: removing what dead runs left")
        try_commands(described)
        if go_back(host, described, deadline, self._say):
            self.check()
        remove_leftovers(host, deadline, self._say)
        self.check()  # the host may have been rebooted
        if not self._allow_busy:
            refuse_busy(host, deadline)
        return described
