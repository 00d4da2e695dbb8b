# SPDX-License-Identifier: MIT
"""Memory and CPUs that this process may use: this machine's, or a container's if it has less.

A container sees this machine's own figures in `/proc`, but is killed if it uses that much. Its
limits are those of its control group and of all parents, in version 1 or 2.
"""

from __future__ import annotations

import math
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

_UNLIMITED = 1 << 60
"""Version 1 shows a very large number in place of "no limit"."""


class Memory(NamedTuple):
    """Memory that is still available.

    Attributes:
        available: bytes.
        why: what limits it: "this machine", or the control group.
    """

    available: int
    why: str


def available_memory(root: Path = Path("/")) -> Memory:
    """Memory that this process can still use before something is killed.

    Args:
        root: folder with `proc` and `sys`.
    """
    text = (root / "proc/meminfo").read_text(encoding="ascii")
    found = re.search(r"^MemAvailable:\s+(\d+) kB", text, re.MULTILINE)
    least = Memory(int(found[1]) * 1024 if found else 0, "this machine")
    for group in _groups(root, "memory"):
        room = _room_in(group)
        if room is not None and room < least.available:
            least = Memory(max(room, 0), f"the memory limit of this container ({group})")
    return least


def usable_cpus(root: Path = Path("/")) -> int:
    """Number of CPUs that this process may use at once, rounded up.

    Args:
        root: folder with `proc` and `sys`.
    """
    quotas = [quota for group in _groups(root, "cpu") if (quota := _quota_of(group)) is not None]
    return min([len(os.sched_getaffinity(0)), *(max(1, math.ceil(quota)) for quota in quotas)])


def _room_in(group: Path) -> int | None:
    """Bytes left below a control group's memory limit; None without a limit."""
    limits = [
        limit
        for name in ("memory.max", "memory.high", "memory.limit_in_bytes")
        if (limit := _number(group / name)) is not None and limit < _UNLIMITED
    ]
    used = _number(group / "memory.current") or _number(group / "memory.usage_in_bytes")
    if not limits:
        return None
    # The kernel drops file pages that were not used lately before it kills a process.
    match = re.search(r"^(?:total_)?inactive_file (\d+)$", _text(group / "memory.stat"), re.M)
    return min(limits) - (used or 0) + (int(match[1]) if match else 0)


def _quota_of(group: Path) -> float | None:
    """CPUs that a control group may use, possibly a fraction; None without a limit."""
    words = _text(group / "cpu.max").split()
    if not words:
        words = [_text(group / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period")]
    if len(words) != 2 or not all(word.isdigit() for word in words) or not int(words[1]):  # noqa: PLR2004
        return None
    return int(words[0]) / int(words[1])


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Folders of this process's control group and of its parents, for one controller."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        for top, mounted in _mounts(root, controller if controllers else ""):
            # A container may have its own group mounted, but be told its path on this machine.
            inside = path if top == "/" else path.removeprefix(top)
            folder = root / mounted.lstrip("/")
            here = folder / inside.lstrip("/")
            if not here.is_dir():
                here = folder
            yield from (each for each in (here, *here.parents) if each.is_relative_to(folder))


def _mounts(root: Path, controller: str) -> Iterator[tuple[str, str]]:
    """Which group is mounted, and where; the controller without a name is version 2."""
    for line in _text(root / "proc/self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = [*after.split(" ", 2), "", ""][:3]
        wanted = kind == "cgroup" and controller in options.split(",") if controller else False
        if wanted or (not controller and kind == "cgroup2"):
            _, _, _, top, mounted, *_ = before.split(" ")
            yield top, mounted


def _number(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.isdigit() else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
