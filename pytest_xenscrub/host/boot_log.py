# SPDX-License-Identifier: MIT
"""Finds in a serial log how far a boot of Xen came, and decides whose fault a failed boot is."""

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
"""Last lines of a serial log that are read: enough for a whole boot and the one before it."""
SHOWN_LINES = 40
_BANNER = re.compile(r"^.*Xen version \d", re.MULTILINE)
"""The first line that Xen logs."""
_CRASH = re.compile(r"Panic on CPU|Kernel panic|Reboot in five seconds|Hardware Dom0 crashed")
_HANG = re.compile(r"Watchdog timer detects|soft lockup|hard LOCKUP")
"""A watchdog goes by its own clock: a host that is starved looks the same to it."""
_NOT_LOADED = "pytest-xenscrub: GRUB cannot load this hypervisor"
_DOM0_BEGINS = re.compile(r"\*\*\* Serial input to DOM0|Linux version \d")
"""The last line of Xen's boot, or the first line of dom0's kernel."""

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
    """Xen has printed nothing."""
    NOT_LOADED = enum.auto()
    """GRUB could not load the hypervisor."""
    XEN = enum.auto()
    """Xen has printed something, but has not started dom0."""
    DOM0 = enum.auto()
    """dom0's kernel has started."""
    CRASHED = enum.auto()
    """Xen or dom0 reported that it crashed, or that a CPU hangs."""


def since(before: str, now: str) -> str:
    """The text that was added to a log between two looks at its end.

    Args:
        before: the log's last lines at the first look.
        now: its last lines at the second look, as many.
    """
    # The last line may have been incomplete at the first look.
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
    """The error to raise for a failure after a Xen was started: it may be that Xen's fault.

    Only errors of a silent dom0 can change: no answer, or none in time. If dom0 has answered, its
    own error and hint stay.

    Args:
        error: what happened.
        log: the serial log since the machine was told to boot that Xen; empty without one.
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
    """The last lines of a log, for an error."""
    return "\n".join(log.splitlines()[-SHOWN_LINES:])
