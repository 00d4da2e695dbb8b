# SPDX-License-Identifier: MIT
"""What Xen says of frames, read where its frame table is."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np
import pytest
from pyroaring import BitMap64

from pytest_xenscrub.errors import InfrastructureError
from pytest_xenscrub.outside.frame_table import FrameTable
from pytest_xenscrub.outside.ram import RamView
from pytest_xenscrub.units import GIB, PAGE

if TYPE_CHECKING:
    from .conftest import FakeHostRam

TABLE_MFN = 4 * GIB // PAGE + 8
"""A page of the frame table, of the frames 0 to 127, and behind it one of the frames from 4 GiB on;
then the two pages of M2P."""
FRAME_TABLE, M2P = 0xFFFF_82E0_0000_0000, 0xFFFF_8000_0000_0000
GUESTS = 1 << 63 | 1
HEAP = 1 << 62 | 1
SHARED = GUESTS | HEAP
FREE = 3 << 57


def map_tables(ram: FakeHostRam) -> FrameTable:
    """Both tables where Xen has them, for all of RAM."""
    above = 4 * GIB // PAGE
    ram.map(FRAME_TABLE, TABLE_MFN)
    ram.map(FRAME_TABLE + above * 32, TABLE_MFN + 1)
    ram.map(M2P, TABLE_MFN + 2)
    ram.map(M2P + above * 8, TABLE_MFN + 3)
    return FrameTable(RamView(ram.memory), ram.memory.page_tables)


def table(ram: FakeHostRam, count_infos: dict[int, int]) -> FrameTable:
    for mfn, count_info in count_infos.items():
        ram.write(TABLE_MFN, struct.pack("<Q", count_info), mfn * 32 + 8)
    return map_tables(ram)


def proof(*mfns: int) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    return np.array(mfns, np.uint64)


def test_only_what_xen_has_for_itself_is_its_heap(ram: FakeHostRam) -> None:
    frames = table(ram, {1: GUESTS, 2: HEAP, 3: SHARED, 4: FREE, 127: HEAP})
    frames.prove(proof(1))
    assert frames.xen_heap(BitMap64([1, 2, 3, 4, 5, 127, 128])) == BitMap64([2, 127])
    assert frames.xen_heap(BitMap64()) == BitMap64()


@pytest.mark.parametrize("known", [(1, 2), (1, 3), (4,), (128,)])
def test_a_table_that_does_not_know_a_guests_frames_says_nothing(
    ram: FakeHostRam, known: tuple[int, ...]
) -> None:
    frames = table(ram, {1: GUESTS, 2: HEAP, 3: SHARED, 4: FREE})
    assert frames.xen_heap(BitMap64([2])) == BitMap64()
    frames.prove(proof(*known))
    assert not frames.proven
    assert frames.xen_heap(BitMap64([2])) == BitMap64()


def test_frames_in_use_without_an_owner_are_tables(ram: FakeHostRam) -> None:
    frames = table(ram, {1: GUESTS, 2: HEAP, 3: SHARED, 4: FREE, 5: 0, 6: 1, 7: 2})
    assert frames.tables(BitMap64([5])) == BitMap64(), "a table that is not proven says nothing"
    frames.prove(proof(1))
    assert frames.tables(BitMap64([1, 2, 3, 4, 5, 6, 7, 128])) == BitMap64([5, 6])
    assert frames.tables(BitMap64()) == BitMap64()


DOMAIN, OTHER = 2, 3
"""Frames of the two domains' own structures."""


def domains(ram: FakeHostRam, owners: dict[int, int], gfns: dict[int, int]) -> FrameTable:
    """Frames with an owner, and M2P: domain 7 and domain 8."""
    ram.write(DOMAIN, struct.pack("<H", 7), 0)
    ram.write(OTHER, struct.pack("<H", 8), 0)
    for mfn, owner in owners.items():
        ram.write(TABLE_MFN, struct.pack("<QQI", GUESTS, 0, owner), mfn * 32 + 8)
    for mfn, gfn in gfns.items():
        ram.write(TABLE_MFN + 2, struct.pack("<Q", gfn), mfn * 8)
    return map_tables(ram)


def test_a_domains_pages_are_found_by_owner_and_m2p(ram: FakeHostRam) -> None:
    nowhere = (1 << 64) - 1
    frames = domains(
        ram, {1: DOMAIN, 4: OTHER, 5: DOMAIN, 6: DOMAIN}, {1: 9, 4: 0, 5: 2, 6: nowhere}
    )
    gfns, mfns = frames.frames_of(7)
    assert (gfns.tolist(), mfns.tolist()) == ([2, 9], [5, 1])


def test_what_xen_has_for_itself_is_no_page_of_a_domain(ram: FakeHostRam) -> None:
    frames = domains(ram, {1: DOMAIN, 4: DOMAIN}, {1: 9, 4: 8})
    ram.write(TABLE_MFN, struct.pack("<Q", SHARED), 1 * 32 + 8)
    assert frames.frames_of(7)[1].tolist() == [4]


def test_a_domain_that_is_not_there(ram: FakeHostRam) -> None:
    frames = domains(ram, {1: DOMAIN}, {1: 9})
    with pytest.raises(InfrastructureError, match="no frame of domain 9"):
        frames.frames_of(9)


def test_two_frames_for_one_page(ram: FakeHostRam) -> None:
    frames = domains(ram, {1: DOMAIN, 4: DOMAIN}, {1: 9, 4: 9})
    with pytest.raises(InfrastructureError, match="two frames for each of 1 pages"):
        frames.frames_of(7)


def test_what_xen_took_again_of_memory_populated_on_demand(ram: FakeHostRam) -> None:
    frames = domains(ram, dict.fromkeys((0, 1, 6, 8), DOMAIN), {0: 9, 1: 9, 6: 3, 8: 2})
    assert frames.frames_of(7, on_demand=True)[0].tolist() == [2, 3, 9], "either will do"
    ram.write(1, b"x", 4095)
    gfns, mfns = frames.frames_of(7, on_demand=True)
    assert (gfns.tolist(), mfns.tolist()) == ([2, 3, 9], [8, 6, 1])
    ram.write(0, b"x")
    with pytest.raises(InfrastructureError, match="two frames for each of 1 pages"):
        frames.frames_of(7, on_demand=True)


def test_two_frames_for_one_page_at_one_look_only(
    ram: FakeHostRam, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = domains(ram, {1: DOMAIN, 4: DOMAIN}, {1: 9, 4: 9})

    def xen_goes_on(_seconds: float) -> None:
        ram.write(TABLE_MFN, struct.pack("<Q", FREE), 1 * 32 + 8)

    monkeypatch.setattr("time.sleep", xen_goes_on)
    assert frames.frames_of(7)[1].tolist() == [4]


GUESTS_OWN = 4 * GIB // PAGE
"""A frame that is no page table of Xen's, whatever a guest's CR3 says."""


def test_a_cpu_that_runs_a_guest_is_looked_at_again(
    ram: FakeHostRam, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its CR3 is an address of the guest's, and no machine address."""
    frames = domains(ram, {1: DOMAIN}, {1: 9})
    root, ram.root = ram.root, GUESTS_OWN

    def guest_exits(_seconds: float) -> None:
        ram.root = root

    monkeypatch.setattr("time.sleep", guest_exits)
    assert frames.frames_of(7)[0].tolist() == [9]


def test_page_tables_that_lack_one_page_of_a_table_are_not_xens(
    ram: FakeHostRam, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = domains(ram, {1: DOMAIN}, {1: 9})
    ram.map(M2P + 4 * GIB // PAGE * 8, 3 * GIB // PAGE)
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    with pytest.raises(InfrastructureError, match="were not found in RAM"):
        frames.frames_of(7)
    frames.prove(proof(1))
    assert not frames.proven


def test_once_located_the_tables_are_where_they_were(ram: FakeHostRam) -> None:
    frames = domains(ram, {1: DOMAIN}, {1: 9})
    assert frames.locate()
    ram.root = GUESTS_OWN
    assert frames.frames_of(7)[0].tolist() == [9]
