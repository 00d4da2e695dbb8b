# SPDX-License-Identifier: MIT
"""What Xen says of frames, read where its frame table is."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np
import pytest
from pyroaring import BitMap64

from pytest_xenscrub.outside.frame_table import FrameTable
from pytest_xenscrub.outside.ram import RamView
from pytest_xenscrub.units import GIB, PAGE

if TYPE_CHECKING:
    from .conftest import FakeHostRam

TABLE_MFN = 4 * GIB // PAGE + 8
GUESTS = 1 << 63 | 1
HEAP = 1 << 62 | 1
SHARED = GUESTS | HEAP
FREE = 3 << 57


def table(ram: FakeHostRam, count_infos: dict[int, int]) -> FrameTable:
    """One page of it, of the frames 0 to 127; the others are mapped nowhere."""
    for mfn, count_info in count_infos.items():
        ram.write(TABLE_MFN, struct.pack("<Q", count_info), mfn * 32 + 8)

    def translate(address: int) -> int | None:
        return TABLE_MFN * PAGE if address == 0xFFFF_82E0_0000_0000 else None

    return FrameTable(RamView(ram.memory), translate)


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
