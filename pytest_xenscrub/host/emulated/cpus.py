# SPDX-License-Identifier: MIT
"""Where an emulated machine's CPUs are: what can still be asked of a machine that hangs."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_CPU = re.compile(r"^CPU#(\d+)", re.MULTILINE)
_RIP = re.compile(r"\bRIP=([0-9a-f]{16})")
_RING = re.compile(r"\bCPL=(\d)")
_HALTED = re.compile(r"\bHLT=1")
_XEN_FIRST = 0xFFFF82D000000000
_XEN_END = 0xFFFF82E000000000
"""Where Xen's own code lies (xen/include/asm-x86/config.h)."""


def describe(registers: str, symbols: Path | None) -> str:
    """A line for each CPU: what it executes.

    Args:
        registers: what QEMU's monitor says to `info registers -a`.
        symbols: the hypervisor with its symbols, if there is one.
    """
    parts = _CPU.split(registers)[1:]
    return "\n".join(
        f"CPU{number}: {_where(text, symbols)}"
        for number, text in zip(parts[::2], parts[1::2], strict=True)
    )


def _where(text: str, symbols: Path | None) -> str:
    rip, ring = _RIP.search(text), _RING.search(text)
    if rip is None:
        return "unknown"
    address = int(rip[1], 16)
    halted = ", halted" if _HALTED.search(text) else ""
    if _XEN_FIRST <= address < _XEN_END:
        return f"in Xen at {address:#x}{_symbol(address, symbols)}{halted}"
    return f"in a guest or dom0 at {address:#x}, ring {ring[1] if ring else '?'}{halted}"


def _symbol(address: int, symbols: Path | None) -> str:
    """` (function, file:line)`, or nothing where that cannot be found out."""
    tool = shutil.which("addr2line")
    if tool is None or symbols is None or not symbols.exists():
        return ""
    done = subprocess.run(
        [tool, "-f", "-e", str(symbols), f"{address:#x}"],
        capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    name = done.stdout.splitlines()[0] if done.stdout else "??"
    return "" if name == "??" else f" ({name})"
