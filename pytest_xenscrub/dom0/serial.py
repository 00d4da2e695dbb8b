# SPDX-License-Identifier: MIT
"""What of a serial log tells why a host is gone."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pytest_xenscrub.dom0.sent.bindings import HEAP_DUMP

if TYPE_CHECKING:
    from collections.abc import Sequence

LINES = 1000
"""A machine that crashes boots again at once, and says more than what it died of."""
_CRASH = re.compile(r"Panic on CPU|Kernel panic|Hardware Dom0 crashed")
_HANG = re.compile(
    r"Watchdog timer detects|soft lockup|hard LOCKUP|blocked for more than \d+ sec|rcu.* stall"
)
"""What Xen's watchdog, and dom0's kernel, say of a CPU or a task that hangs."""
_MARK_LINES = 3
"""So many lines tell where an earlier look at a serial log ended."""
_ONE_CRASH_LINES = 80
"""Lines between dom0's panic and Xen's report of it, mostly a stack."""
_BEFORE, _AFTER = 8, 3


def telling(log: str, lines: int) -> str:
    """The last lines of a serial log; before them what it crashed of, if it has booted since.

    The heap dumps that we asked for ourselves are left out.

    Args:
        log: at least the last `LINES` lines of it, if there are so many.
        lines: how many of the last ones are wanted.
    """
    said = [line for line in log.splitlines() if not HEAP_DUMP.search(line)]
    tail = said[-lines:]
    crash = _last_crash(said[: len(said) - len(tail)])
    if crash:
        tail = ["[its last crash:]", *crash, "[its last lines:]", *tail]
    return "\n".join(tail)


def crashed_since(before: str, now: str) -> bool:
    """Whether a serial log tells of a crash that it did not tell of before.

    Args:
        before: the last `LINES` lines of it then.
        now: the same now.
    """
    return bool(_CRASH.search(_fresh(before, now)))


def hung_since(before: str, now: str) -> bool:
    """Whether a serial log tells of a CPU or a task that hangs, as `crashed_since`.

    A watchdog goes by its own clock: a host that is starved looks the same to it.
    """
    return bool(_HANG.search(_fresh(before, now)))


def _fresh(before: str, now: str) -> str:
    mark = "\n".join(before.splitlines()[-_MARK_LINES:])
    return now.rpartition(mark)[2] if mark else now


def _last_crash(said: Sequence[str]) -> Sequence[str]:
    marks = [number for number, line in enumerate(said) if _CRASH.search(line)]
    if not marks:
        return ()
    first = next(mark for mark in marks if marks[-1] - mark < _ONE_CRASH_LINES)
    words = [*said[max(0, first - _BEFORE) : first + _AFTER + 1]]
    if marks[-1] > first + _AFTER:
        words += ["[...]", said[marks[-1]]]
    return words
