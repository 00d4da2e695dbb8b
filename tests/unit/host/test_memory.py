# SPDX-License-Identifier: MIT
"""QEMU's account of where a machine has its RAM."""

from __future__ import annotations

import pytest

from pytest_xenscrub.errors import InfrastructureError
from pytest_xenscrub.host.memory import Extent, parse_map
from pytest_xenscrub.units import GIB

TOLD = """FlatView #0\r
 AS "i440FX", root: bus master container\r
 Root memory region: (none)\r
  No rendered FlatView\r
\r
FlatView #1\r
 AS "memory", root: system\r
 AS "cpu-memory-0", root: system\r
 Root memory region: system\r
  0000000000000000-00000000000bffff (prio 0, ram): ram\r
  00000000000c0000-00000000000dffff (prio 1, rom): pc.rom\r
  0000000000100000-00000000bfffffff (prio 0, ram): ram @0000000000100000\r
  00000000fec00000-00000000fec00fff (prio 0, i/o): ioapic\r
  0000000100000000-000000017fffffff (prio 0, ram): ram @00000000c0000000\r
\r
FlatView #2\r
 AS "I/O", root: io\r
  0000000000000000-0000000000000007 (prio 0, i/o): dma-chan\r
"""


def test_ram_below_and_above_the_hole_is_found() -> None:
    assert parse_map(TOLD, "ram") == (
        Extent(0, 0, 0xC0000),
        Extent(0x100000, 0x100000, 3 * GIB - 0x100000),
        Extent(4 * GIB, 3 * GIB, 2 * GIB),
    )


@pytest.mark.parametrize(
    "told", ["", "unknown command: 'info mtree'", TOLD.replace(": ram", ": x")]
)
def test_a_machine_whose_ram_is_not_told_is_no_guess(told: str) -> None:
    with pytest.raises(InfrastructureError, match="did not say where"):
        parse_map(told, "ram")
