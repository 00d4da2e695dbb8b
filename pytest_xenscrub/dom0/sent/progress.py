# SPDX-License-Identifier: MIT
"""For how long nothing has moved: a hang is no progress. Part of the agent.

Plain Python 3.6, as the agent is.
"""

import os
import time
from typing import Any, Dict, Optional, Tuple

Facts = Dict[str, Any]

# A figure that many things change (free memory, a toolstack's files) has moved if by this much.
MOVED_BYTES = 1 << 20
# These do a toolstack's work on behalf of its commands.
DAEMONS = ("libvirtd", "virtxend", "libxl-save-helpe")


class Clock:
    """dom0's monotonic clock, but that it stands still while the host is kept from running.

    dom0 cannot see that itself: whoever emulates the host tells.
    """

    def __init__(self) -> None:
        self.starved = 0.0

    def now(self) -> float:
        """The time, s."""
        return time.monotonic() - self.starved


class Stillness:
    """When something last moved.

    Args:
        clock: stands still while the host is starved.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.marks: Dict[str, Any] = {}
        self.moved()

    def moved(self) -> None:
        """Something has moved now."""
        self.since = self.clock.now()
        self.starved = self.clock.starved

    def seconds(self) -> float:
        """For how long nothing has moved, s, but for what the host was starved."""
        return self.clock.now() - self.since

    def told(self) -> Facts:
        """The same for an answer: all of the time, and how long of it the host was starved, s."""
        starved = self.clock.starved - self.starved
        return {"seconds": self.seconds() + starved, "starved": starved}

    def differs(self, name: str, value: Any) -> None:
        """A figure that may change in any way: to do so is to move."""
        if self.marks.get(name) != value:
            self.marks[name] = value
            self.moved()

    def falls(self, name: str, value: int) -> None:
        """A figure that falls where work is done."""
        if value < self.marks.setdefault(name, value):
            self.moved()
        self.marks[name] = value

    def rises(self, name: str, value: int, least: int = MOVED_BYTES) -> None:
        """A figure that rises where work is done, by at least so much to count."""
        mark = self.marks.setdefault(name, value)
        if value >= mark + least:
            self.moved()
        elif value >= mark:
            return
        self.marks[name] = value


def io_bytes(session: Optional[int]) -> int:
    """What the processes of a session, and toolstacks' daemons, have read and written so far."""
    total = 0
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            command, its_session = identity("/proc/{}/stat".format(name))
            if its_session != session and command not in DAEMONS:
                continue
            with open("/proc/{}/io".format(name)) as file:
                # rchar and wchar: a pipe and the page cache count too.
                total += sum(int(line.split()[1]) for line in list(file)[:2])
        except (OSError, ValueError, IndexError):
            continue  # it has ended, or is not ours to look at
    return total


def identity(path: str) -> Tuple[str, int]:
    """A process's name and session, of its /proc/PID/stat."""
    with open(path) as file:
        before, _, after = file.read().rpartition(")")
    return before.partition("(")[2], int(after.split()[3])
