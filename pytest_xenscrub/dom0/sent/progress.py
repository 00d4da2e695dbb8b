# SPDX-License-Identifier: MIT
"""Measures how long nothing has moved, which is how a hang shows. Part of the agent.

Plain Python 3.6, as the agent is.
"""

import os
import time
from typing import Any, Dict, Optional, Tuple

Facts = Dict[str, Any]

# Least change that counts for figures that many things change (free memory, a toolstack's files).
MOVED_BYTES = 1 << 20
# Daemons that work for a toolstack's commands.
DAEMONS = ("libvirtd", "virtxend", "libxl-save-helpe")


class Clock:
    """dom0's monotonic clock without the time in which the host was starved.

    dom0 cannot see starvation itself: the machine that emulates the host reports it.
    """

    def __init__(self) -> None:
        self.starved = 0.0

    def now(self) -> float:
        """The time, s."""
        return time.monotonic() - self.starved


class Stillness:
    """Measures the time since something last moved.

    Args:
        clock: a clock without starvation.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.marks: Dict[str, Any] = {}
        self.moved()

    def moved(self) -> None:
        """Note that something has moved now."""
        self.since = self.clock.now()
        self.starved = self.clock.starved

    def seconds(self) -> float:
        """How long nothing has moved, without starvation, s."""
        return self.clock.now() - self.since

    def told(self) -> Facts:
        """For an answer: how long nothing has moved, with starvation, and the starvation, s."""
        starved = self.clock.starved - self.starved
        return {"seconds": self.seconds() + starved, "starved": starved}

    def differs(self, name: str, value: Any) -> None:
        """Note a value for which any change counts as progress."""
        if self.marks.get(name) != value:
            self.marks[name] = value
            self.moved()

    def falls(self, name: str, value: int) -> None:
        """Note a value for which only a decrease counts as progress."""
        if value < self.marks.setdefault(name, value):
            self.moved()
        self.marks[name] = value

    def rises(self, name: str, value: int, least: int = MOVED_BYTES) -> None:
        """Note a value for which an increase by at least `least` counts as progress."""
        mark = self.marks.setdefault(name, value)
        if value >= mark + least:
            self.moved()
        elif value >= mark:
            return
        self.marks[name] = value


def io_bytes(session: Optional[int]) -> int:
    """Bytes that the processes of a session, and toolstacks' daemons, read and wrote so far."""
    total = 0
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            command, its_session = identity("/proc/{}/stat".format(name))
            if its_session != session and command not in DAEMONS:
                continue
            with open("/proc/{}/io".format(name)) as file:
                # rchar and wchar include pipes and the page cache.
                total += sum(int(line.split()[1]) for line in list(file)[:2])
        except (OSError, ValueError, IndexError):
            continue  # the process has ended, or belongs to another user
    return total


def identity(path: str) -> Tuple[str, int]:
    """A process's name and session, from its /proc/PID/stat."""
    with open(path) as file:
        before, _, after = file.read().rpartition(")")
    return before.partition("(")[2], int(after.split()[3])
