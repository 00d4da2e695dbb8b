# SPDX-License-Identifier: MIT
from __future__ import annotations

from pytest_xenscrub.host.emulated.cpus import describe, states
from pytest_xenscrub.host.symbols import Symbols

# What QEMU 7.2 says to `info registers -a`, shortened.
REGISTERS = """
CPU#0
RAX=0000000000000000 RBX=ffff82d0405e5e80 RCX=0000000000000001 RDX=0000000000000000
RIP=ffff82d040232456 RFL=00000246 [---Z-P-] CPL=0 II=0 A20=1 SMM=0 HLT=0
CS =e008 0000000000000000 ffffffff 00af9b00 DPL=0 CS64 [-RA]

CPU#1
RAX=0000000000000000 RBX=ffffffff82a0c200 RCX=0000000000000001 RDX=0000000000000000
RIP=ffffffff81e0e3a0 RFL=00000246 [---Z-P-] CPL=3 II=0 A20=1 SMM=0 HLT=1
CS =e033 0000000000000000 ffffffff 00affb00 DPL=3 CS64 [-RA]
"""


def test_a_cpu_in_xen_and_one_that_is_halted_in_a_guest() -> None:
    assert describe(states(REGISTERS), Symbols()).splitlines() == [
        "CPU0: in Xen at 0xffff82d040232456",
        "CPU1: in a guest or dom0 at 0xffffffff81e0e3a0, ring 3, halted",
    ]


def test_a_cpu_that_qemu_says_nothing_of() -> None:
    assert describe(states("CPU#0\n"), Symbols()) == "CPU0: unknown"


def test_nothing_said_is_nothing() -> None:
    assert describe(states(""), Symbols()) == ""
