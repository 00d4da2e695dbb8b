#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Stands before dom0's xl: the command named in ARMED is stopped half-way, and goes on later."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

REAL = "/usr/sbin/xl"
ARMED = Path("/run/faults-armed")
REACHED = Path("/run/faults-reached")
HOLD_SECONDS = 12.0
OURS = b"xscb"
BUILT_KIB = 1024


def descendants(pid: int) -> list[int]:
    """A process and all below it."""
    found = [pid]
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(") ")[2].split()[1])
        except OSError:
            continue
        if parent == pid:
            found += descendants(int(stat.parent.name))
    return found


def half_way(xc: Any, command: str, before: set[int]) -> bool:
    """Whether a guest is being built, or is dying."""
    domains = xc.domain_getinfo(0, 99)
    if command == "destroy":
        known = [each for each in domains if each["domid"] == int(sys.argv[2])]
        return not known or bool(known[0]["dying"])
    return any(
        bytes(each["handle"]).startswith(OURS)
        and each["domid"] not in before
        and each["mem_kb"] > BUILT_KIB
        for each in domains
    )


def hold() -> int:
    """Run xl, but keep it standing half-way for a while."""
    sys.path += map(str, Path("/usr/lib").glob("xen-*/lib/python"))
    xc = importlib.import_module("xen.lowlevel.xc").xc()
    ARMED.unlink()
    before = {each["domid"] for each in xc.domain_getinfo(0, 99)}
    child = subprocess.Popen([REAL, *sys.argv[1:]])
    while child.poll() is None and not half_way(xc, sys.argv[1], before):
        pass
    stopped = descendants(child.pid) if child.poll() is None else []
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    REACHED.write_text(f"{len(stopped)} processes stopped\n")
    time.sleep(HOLD_SECONDS)
    for pid in stopped:
        os.kill(pid, signal.SIGCONT)
    return child.wait()


if __name__ == "__main__":
    armed = ARMED.exists() and sys.argv[1:2] == [ARMED.read_text()]
    sys.exit(hold() if armed else subprocess.call([REAL, *sys.argv[1:]]))
