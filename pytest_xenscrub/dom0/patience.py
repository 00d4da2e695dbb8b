# SPDX-License-Identifier: MIT
"""How long Xen is waited for: for as long as something moves, and in all by size and habit."""

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
"""What any step may take in all, beside the time in which nothing moves, s."""
SLOWEST_BYTES_PER_SECOND: Final = 128 << 20
"""No host is waited for as if it were faster; one that was seen to be slower gets more time."""
_MARGIN: Final = 10
"""A step may be so many times as slow as the slowest that this host was seen to do."""
_TELLING_BYTES: Final = 256 << 20
"""Less memory than this tells of what a step costs at all, and not of a pace."""


class Pace:
    """The pace at which a host was seen to build, fill and free guests."""

    def __init__(self) -> None:
        self._bytes_per_second = float(SLOWEST_BYTES_PER_SECOND)

    def saw(self, memory_bytes: int, seconds: float) -> None:
        """A step with so much memory took so long."""
        if memory_bytes >= _TELLING_BYTES and seconds > 0:
            slow = memory_bytes / seconds / _MARGIN
            self._bytes_per_second = min(self._bytes_per_second, slow)

    def seconds(self, memory_bytes: int) -> float:
        """How long a step with so much memory may take, s."""
        return memory_bytes / self._bytes_per_second


class PatientConnection(Connection):
    """A connection that knows how long to wait for Xen.

    Attributes:
        hang_seconds: for how long nothing may move before that is a hang, s.
        pace: what this host was seen to do.
    """

    def __init__(self, host: Host, *, hang_seconds: float) -> None:
        self.hang_seconds = hang_seconds
        self.pace = Pace()
        super().__init__(host)

    def patience_seconds(self, memory_bytes: int = 0) -> float:
        """How long a step with so much memory may take in all, s, if it moves all the time."""
        return self.hang_seconds + LEAST_SECONDS + self.pace.seconds(memory_bytes)

    def patience(
        self, step: str, memory_bytes: int = 0, *, seconds: float | None = None
    ) -> Deadline:
        """A deadline for a step in which Xen, dom0, the toolstack or a guest is waited for.

        Args:
            step: what is waited for.
            memory_bytes: how much memory is built, filled, moved or freed in it.
            seconds: how long it may take, s; None for what suits that memory and this host.
        """
        limit = self.patience_seconds(memory_bytes) if seconds is None else seconds
        return Deadline.for_xen(limit, step, self._starved_seconds)

    def check_moving(self, step: str, call: int) -> None:
        """Raise what `hung` makes if nothing moves while a daemon in dom0 does a call.

        Args:
            step: what is waited for.
            call: names the call; this is asked again and again while it lasts.
        """
        self._tell_starved()
        still = self._look(
            "still", "looking whether anything moves", call=call, hang=self.hang_seconds
        )
        if still:
            raise self.hung(f"{step}: {what_stands_still(still)}", still)

    def hung(self, what: str, still: Still) -> XenHungError | UndecidedError:
        """The error for what the agent told that it stands still."""
        return hung(
            what,
            seconds=still["seconds"], starved=still["starved"], evidence=self.evidence(),
        )  # fmt: skip


def what_stands_still(still: Still) -> str:
    """What did not move for how long, and how far it had come."""
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
