# SPDX-License-Identifier: MIT
"""Finds what an emulated machine's CPUs execute, even while the machine hangs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pytest_xenscrub.host.sampling import CpuState

if TYPE_CHECKING:
    from pytest_xenscrub.host.symbols import Symbols

_CPU = re.compile(r"^CPU#(\d+)", re.MULTILINE)
_RIP = re.compile(r"\bRIP=([0-9a-f]{16})")
_RING = re.compile(r"\bCPL=(\d)")
_HALTED = re.compile(r"\bHLT=1")


def states(registers: str) -> tuple[CpuState, ...]:
    """The state of each CPU, from the answer of QEMU's monitor to `info registers -a`."""
    parts = _CPU.split(registers)[1:]
    return tuple(
        _state(int(number), text) for number, text in zip(parts[::2], parts[1::2], strict=True)
    )


def _state(number: int, text: str) -> CpuState:
    rip, ring = _RIP.search(text), _RING.search(text)
    return CpuState(
        cpu=number,
        address=None if rip is None else int(rip[1], 16),
        ring=None if ring is None else int(ring[1]),
        halted=_HALTED.search(text) is not None,
    )


def describe(cpus: tuple[CpuState, ...], symbols: Symbols) -> str:
    """Describe what each CPU executes, a line each."""
    return "\n".join(f"CPU{state.cpu}: {_where(state, symbols)}" for state in cpus)


def _where(state: CpuState, symbols: Symbols) -> str:
    if state.address is None:
        return "unknown"
    halted = ", halted" if state.halted else ""
    if state.in_xen:
        name = symbols.name(state.address)
        return f"in Xen at {state.address:#x}{f' ({name})' if name else ''}{halted}"
    ring = "?" if state.ring is None else state.ring
    return f"in a guest or dom0 at {state.address:#x}, ring {ring}{halted}"
