# SPDX-License-Identifier: MIT
"""How far a boot of Xen has come, by what its serial log says; and what that proves."""

from __future__ import annotations

import enum
import itertools
import re
from typing import TYPE_CHECKING

from pytest_xenscrub.errors import (
    DeadlineExceededError,
    HostLostError,
    UndecidedError,
    XenFaultError,
)

if TYPE_CHECKING:
    from pytest_xenscrub.errors import XenScrubError

LINES = 2000
"""What is read of a serial log to find a boot in it: a whole boot and the one before."""
SHOWN_LINES = 40
_BANNER = re.compile(r"^.*Xen version \d", re.MULTILINE)
"""The first line that Xen logs."""
_CRASH = re.compile(r"Panic on CPU|Kernel panic|Reboot in five seconds|Hardware Dom0 crashed")
_HANG = re.compile(r"Watchdog timer detects|soft lockup|hard LOCKUP")
"""A watchdog goes by its own clock: a host that is starved looks the same to it."""
_NOT_LOADED = "pytest-xenscrub: GRUB cannot load this hypervisor"
_DOM0_BEGINS = re.compile(r"\*\*\* Serial input to DOM0|Linux version \d")
"""Xen's last words of its own boot, and dom0's first."""

WITHOUT_LOG = (
    "a serial log would tell whether that Xen died, or the network or the machine failed: name the"
    " command that prints it (--xen-serial, or serial in the hosts file)"
)
WITH_LOG = (
    "the serial log tells of no crash: see how far it came; Xen's boot options sync_console and"
    " watchdog make it say more (--xen-cmdline)"
)


class Stage(enum.Enum):
    """How far a boot has come."""

    SILENT = enum.auto()
    """Xen has not said a word."""
    NOT_LOADED = enum.auto()
    """GRUB could not load the hypervisor."""
    XEN = enum.auto()
    """Xen speaks, and has not begun dom0."""
    DOM0 = enum.auto()
    """dom0's kernel has been started."""
    CRASHED = enum.auto()
    """Xen or dom0 says that it crashed, or that a CPU hangs."""


def since(before: str, now: str) -> str:
    """What a log has got between two looks at its end.

    Args:
        before: its last lines at the first look.
        now: its last lines at the second look, as many.
    """
    # The last line may have grown.
    old, new = before.splitlines()[:-1], now.splitlines()
    for length in range(min(len(old), len(new)), 0, -1):
        if old[-length:] == new[:length]:
            return "\n".join(new[length:])
    return now


def boots(log: str) -> list[str]:
    """The boots of Xen in a log, each from its first line on."""
    starts = [banner.start() for banner in _BANNER.finditer(log)]
    return [log[start:end] for start, end in itertools.pairwise([*starts, len(log)])]


def stage(log: str, *, starved: bool = False) -> Stage:
    """How far the first boot in a log has come.

    Args:
        log: the serial log since the machine was told to boot.
        starved: whether other work kept the machine from running: a watchdog proves nothing then.
    """
    found = boots(log)
    if _NOT_LOADED in log[: len(log) - sum(map(len, found))]:
        return Stage.NOT_LOADED
    if not found:
        return Stage.SILENT
    if _CRASH.search(found[0]) or (_HANG.search(found[0]) and not starved):
        return Stage.CRASHED
    return Stage.DOM0 if _DOM0_BEGINS.search(found[0]) else Stage.XEN


def blamed(error: XenScrubError, log: str, *, starved: bool = False) -> XenScrubError:
    """What an error means that came after a Xen was started: it may be that Xen's fault.

    Only silence can be: a dom0 that does not answer, or not in time. Whatever dom0 has answered
    keeps its own error and hint.

    Args:
        error: what happened.
        log: the serial log since the machine was told to boot that Xen; empty if there is none.
        starved: as for `stage`.
    """
    if not isinstance(error, (DeadlineExceededError, HostLostError)):
        return error
    evidence = {
        **error.evidence,
        "serial log": last_lines(log) or error.evidence.get("serial log", ""),
    }
    reached = stage(log, starved=starved)
    if reached in (Stage.CRASHED, Stage.XEN):
        return XenFaultError(error.what, tried=error.tried, todo=error.todo, evidence=evidence)
    return UndecidedError(
        f"{error.what}; nothing tells whether Xen is to blame",
        tried=error.tried,
        todo=WITHOUT_LOG if reached is Stage.SILENT else WITH_LOG,
        evidence=evidence,
    )


def last_lines(log: str) -> str:
    """The end of a log, as an error shows it."""
    return "\n".join(log.splitlines()[-SHOWN_LINES:])
