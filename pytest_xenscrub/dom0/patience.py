# SPDX-License-Identifier: MIT
"""Decides how long to wait for Xen: by progress, by the memory of a step, by the host's pace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pytest_xenscrub.deadline import Deadline, hung
from pytest_xenscrub.dom0.connection import Connection
from pytest_xenscrub.units import PAGE, gib

if TYPE_CHECKING:
    from pytest_xenscrub.dom0.answers import Still
    from pytest_xenscrub.errors import UndecidedError, XenHungError
    from pytest_xenscrub.host.protocol import Host

LEAST_SECONDS: Final = 60.0
"""Least limit of a step, in addition to the time without progress, s."""
SLOWEST_BYTES_PER_SECOND: Final = 128 << 20
"""Upper bound on the assumed pace of a host; one that was seen to be slower gets more time."""
_MARGIN: Final = 10
"""Limit of a step, as a multiple of the time at the slowest pace that this host was seen to
have."""
_TELLING_BYTES: Final = 256 << 20
"""Least memory of a step that tells a pace; the time of a smaller step is mostly fixed costs."""


class Pace:
    """The slowest pace at which a host was seen to build, fill and free guests."""

    def __init__(self) -> None:
        self._bytes_per_second = float(SLOWEST_BYTES_PER_SECOND)

    def saw(self, memory_bytes: int, seconds: float) -> None:
        """Note that a step with this memory took so long."""
        if memory_bytes >= _TELLING_BYTES and seconds > 0:
            slow = memory_bytes / seconds / _MARGIN
            self._bytes_per_second = min(self._bytes_per_second, slow)

    def seconds(self, memory_bytes: int) -> float:
        """Limit for a step with this memory, s."""
        return memory_bytes / self._bytes_per_second


class PatientConnection(Connection):
    """A connection that knows how long to wait for Xen.

    Attributes:
        hang_seconds: time without progress that counts as a hang, s.
        pace: the host's pace.
    """

    def __init__(self, host: Host, *, hang_seconds: float) -> None:
        self.hang_seconds = hang_seconds
        self.pace = Pace()
        super().__init__(host)

    def patience_seconds(self, memory_bytes: int = 0) -> float:
        """Limit for a step with this memory, s, provided that there is progress all the time."""
        return self.hang_seconds + LEAST_SECONDS + self.pace.seconds(memory_bytes)

    def patience(
        self, step: str, memory_bytes: int = 0, *, seconds: float | None = None
    ) -> Deadline:
        """A deadline for a step that waits for Xen, dom0, the toolstack or a guest.

        Args:
            step: the step's name, for errors.
            memory_bytes: memory that is built, filled, moved or freed in the step.
            seconds: limit, s; None for a limit by that memory and this host.
        """
        limit = self.patience_seconds(memory_bytes) if seconds is None else seconds
        return Deadline.for_xen(limit, step, self._starved_seconds)

    def check_moving(self, step: str, call: int) -> None:
        """Raise an error of `hung` if nothing moves in dom0 while a daemon handles a call.

        Args:
            step: the step's name, for errors.
            call: number of the call, the same in all checks during it.
        """
        self._tell_starved()
        still = self._look(
            "still", "looking whether anything moves", call=call, hang=self.hang_seconds
        )
        if still:
            raise self.hung(f"{step}: {what_stands_still(still)}", still)

    def hung(self, what: str, still: Still) -> XenHungError | UndecidedError:
        """The error for what the agent reports as standing still."""
        return hung(
            what,
            seconds=still["seconds"], starved=still["starved"], evidence=self.evidence(),
        )  # fmt: skip


def what_stands_still(still: Still) -> str:
    """Describe what did not move, for how long, and how far the work had come."""
    seconds = f"for {still['seconds']:.0f} s"
    state = still.get("state")
    if state is None:
        return f"no page of any domain and no byte of its own moved {seconds}"
    if state == "alive":
        return f"nothing happened to the domain {seconds}"
    memory, freed, backlog = (
        still[key] for key in ("memory_bytes", "freed_bytes", "backlog_pages")
    )
    if freed < memory:
        return f"no page came free {seconds}; {gib(freed)} of {gib(memory)} were free then"
    if state == "dying":
        return f"the domain stayed in the list {seconds}, with all of its {gib(memory)} free"
    if backlog:
        return f"no page was scrubbed {seconds}; {gib(backlog * PAGE)} are left to scrub"
    return f"the domain is gone, and its command did not end {seconds}"
