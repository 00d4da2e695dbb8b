# SPDX-License-Identifier: MIT
"""Addresses looked up in page tables that are in RAM."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from pytest_xenscrub.outside.page_tables import PageTables
from pytest_xenscrub.outside.ram import NOWHERE, RamView
from pytest_xenscrub.units import GIB, MIB, PAGE

from .conftest import ABOVE, BELOW

if TYPE_CHECKING:
    from .conftest import FakeHostRam

START = 0xFFFF_82E0_0000_0000
L3 = (START >> 39 & 511,)
L2 = (*L3, START >> 30 & 511)
SUPERPAGE = 1 | 1 << 7


def rows(ram: FakeHostRam, start: int, pages: int) -> list[int]:
    flags = 0x8000_0000_0000_0018  # no part of the address
    tables = PageTables(RamView(ram.memory), ram.root * PAGE | flags)
    return [int(row) for row in tables.rows(start, pages)]


def test_pages_of_a_lowest_table(ram: FakeHostRam) -> None:
    ram.map(START, ABOVE + 3)
    ram.map(START + 2 * PAGE, 1)
    assert rows(ram, START, 4) == [BELOW + 3, NOWHERE, 1, NOWHERE]


def test_pages_of_two_tables(ram: FakeHostRam) -> None:
    last = START + 2 * MIB - PAGE
    ram.map(last, ABOVE + 3)
    ram.map(last + PAGE, ABOVE + 9)
    assert rows(ram, last, 2) == [BELOW + 3, BELOW + 9]


def test_superpages_and_what_of_them_is_no_ram(ram: FakeHostRam) -> None:
    ram.map(START, 1)
    l3, l2 = (ram.tables[path] for path in (L3, L2))
    ram.write(l2, struct.pack("<Q", ABOVE * PAGE | SUPERPAGE), 8)
    assert rows(ram, START + 2 * MIB + PAGE, 2) == [BELOW + 1, BELOW + 2]
    assert rows(ram, START + 4 * MIB - PAGE, 1) == [NOWHERE]
    ram.write(l3, struct.pack("<Q", SUPERPAGE), (L2[1] + 1) * 8)
    assert rows(ram, START + GIB + 2 * PAGE, 4) == [2, 3, NOWHERE, NOWHERE]


def test_tables_that_are_no_ram_map_nothing(ram: FakeHostRam) -> None:
    ram.map(START, 1)
    ram.write(ram.tables[L3], struct.pack("<Q", 3 * GIB | 1), L2[1] * 8)
    assert rows(ram, START, 1) == [NOWHERE]
    ram.root = 3 * GIB // PAGE
    assert rows(ram, START, 1) == [NOWHERE]
