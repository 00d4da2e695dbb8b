# SPDX-License-Identifier: MIT
"""Finds in a serial log why a host is gone."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pytest_xenscrub.dom0.sent.bindings import HEAP_DUMP

if TYPE_CHECKING:
    from collections.abc import Sequence

LINES = 1000
"""Number of lines to read: a machine that crashes boots again at once, and prints a lot more."""
_CRASH = re.compile(r"Panic on CPU|Kernel panic|Hardware Dom0 crashed")
_HANG = re.compile(
    r"Watchdog timer detects|soft lockup|hard LOCKUP|blocked for more than \d+ sec|rcu.* stall"
)
"""Messages of Xen's watchdog and of dom0's kernel about a CPU or a task that hangs."""
_MARK_LINES = 3
"""Number of lines by which the end of an earlier look at a log is found again."""
_ONE_CRASH_LINES = 80
"""Upper bound on the lines between dom0's panic and Xen's report of it, mostly a stack."""
_BEFORE, _AFTER = 8, 3


def telling(log: str, lines: int) -> str:
    """The last lines of a serial log; before them the last crash, if the host has booted since.

    Leaves out heap dumps that the tool asked for.

    Args:
        log: at least the last `LINES` lines of the log, if it has as many.
        lines: number of last lines wanted.
    """
    said = [line for line in log.splitlines() if not HEAP_DUMP.search(line)]
    tail = said[-lines:]
    crash = _last_crash(said[: len(said) - len(tail)])
    if crash:
        tail = ["[its last crash:]", *crash, "[its last lines:]", *tail]
    return "\n".join(tail)


def crashed_since(before: str, now: str) -> bool:
    """Whether a serial log has a crash that it did not have before.

    Args:
        before: the log's last `LINES` lines before.
        now: its last `LINES` lines now.
    """
    return bool(_CRASH.search(_fresh(before, now)))


def hung_since(before: str, now: str) -> bool:
    """Whether a serial log has a CPU or task that hangs; arguments as for `crashed_since`.

    Proves nothing if the host was starved, because watchdogs do not count starvation.
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
