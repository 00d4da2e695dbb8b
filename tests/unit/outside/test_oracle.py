# SPDX-License-Identifier: MIT
"""What frames hold, seen from outside."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from pyroaring import BitMap64

from pytest_xenscrub.errors import DisagreementError, InfrastructureError
from pytest_xenscrub.outside.oracle import Oracle
from pytest_xenscrub.units import PAGE

from .conftest import ABOVE, BELOW, FRAMES, GUEST, RUN, page

if TYPE_CHECKING:
    from .conftest import FakeHostRam

LAST = ABOVE + FRAMES - BELOW - 1
ALL = BitMap64([*range(BELOW), *range(ABOVE, LAST + 1)])


def test_frames_are_found_below_and_above_the_hole(oracle: Oracle) -> None:
    rows = oracle.ram.rows([BELOW - 1, ABOVE, LAST])
    assert rows.tolist() == [BELOW - 1, BELOW, FRAMES - 1]
    assert oracle.ram.mfns(rows).tolist() == [BELOW - 1, ABOVE, LAST]


@pytest.mark.parametrize("mfn", [BELOW, ABOVE - 1, LAST + 1])
def test_a_frame_that_is_no_ram_is_an_error(oracle: Oracle, mfn: int) -> None:
    with pytest.raises(InfrastructureError, match=f"1 frames .* MFN {mfn:#x}"):
        oracle.ram.rows([0, mfn])


@pytest.mark.parametrize("byte", [0x00, 0xC2])
def test_one_wrong_byte_makes_a_frame_dirty(ram: FakeHostRam, byte: int) -> None:
    oracle = Oracle(ram.memory, byte)
    ram.scrub(ALL, byte)
    assert oracle.clean(ALL) == ALL
    dirty = {0: 0, 3: 4095, ABOVE: 2048, LAST: 7}
    for mfn, at in dirty.items():
        ram.write(mfn, bytes([byte ^ 0x40]), at)
    # All of them follow each other; of each third none does.
    for frames in (ALL, BitMap64(ALL[::3]) | BitMap64([LAST])):
        assert oracle.clean(frames) == frames - BitMap64(dirty)
    assert oracle.clean(BitMap64()) == BitMap64()


def test_any_word_of_a_dead_guest_condemns_a_frame(ram: FakeHostRam, oracle: Oracle) -> None:
    ram.fill([1, ABOVE + 5])
    ram.fill([2], guest=8)
    ram.fill([3], run=RUN ^ 1)
    ram.write(ABOVE + 9, page(0, 0)[-16:], PAGE - 16)
    held = oracle.holding(ALL, RUN, [GUEST])
    assert held == BitMap64([1, ABOVE + 5, ABOVE + 9])
    assert oracle.holding(ALL, RUN, [GUEST, 8]) == held | BitMap64([2])
    assert oracle.holding(ALL, RUN, []) == BitMap64()


PARTS = {
    "first half": slice(0, 256), "last half": slice(256, 512), "a line": slice(296, 304),
    "first word": slice(0, 1), "last word": slice(511, 512), "page's word": slice(509, 510),
    "even words": slice(0, 512, 2), "odd words": slice(1, 512, 2),
    "frame's words": slice(3, 512, 4),
}  # fmt: skip
"""Parts of a page that a scrub has left."""


@pytest.mark.parametrize("byte", [0x00, 0xC2])
@pytest.mark.parametrize("left", PARTS.values(), ids=PARTS)
def test_any_part_of_a_page_tells_whose_it_was(ram: FakeHostRam, left: slice, byte: int) -> None:
    words = np.full(512, int.from_bytes(bytes([byte]) * 8), np.uint64)
    words[left] = np.frombuffer(page(3, 1), np.uint64)[left]
    ram.write(1, words.tobytes())
    held = Oracle(ram.memory, byte).holding
    assert held(ALL, RUN, [5, GUEST]) == BitMap64([1])
    assert held(ALL, RUN ^ 1, [5, GUEST]) == held(ALL, RUN, [GUEST + 1]) == BitMap64()


@pytest.mark.parametrize("byte", [0x00, 0xC2])
def test_upper_halves_of_words_tell_the_run(ram: FakeHostRam, byte: int) -> None:
    halves = np.full(1024, int.from_bytes(bytes([byte]) * 4), np.uint32)
    halves[1::2] = np.frombuffer(page(3, 1), np.uint32)[1::2]
    ram.write(1, halves.tobytes())
    held = Oracle(ram.memory, byte).holding
    assert held(ALL, RUN, [5, GUEST]) == BitMap64([1])
    assert held(ALL, RUN ^ 1, [5, GUEST]) == BitMap64()


def test_words_of_a_page_that_names_another_guest_are_that_guests(
    ram: FakeHostRam, oracle: Oracle
) -> None:
    """The check in a word that names a frame has 7 bits: of 128 guests two have the same."""
    ram.fill(ALL, guest=4000)
    assert oracle.holding(ALL, RUN, range(1, 1000)) == BitMap64()


def test_random_data_is_not_a_pattern(ram: FakeHostRam, oracle: Oracle) -> None:
    noise = np.random.default_rng(1)
    for mfn in ALL:
        ram.write(mfn, noise.bytes(PAGE))
    # Kind and run fit, the guest is one that there never was.
    ram.write(5 + ABOVE, page(0, 0, guest=4000))
    assert oracle.holding(ALL, RUN, range(1, 100)) == BitMap64()
    assert oracle.search(RUN, GUEST) == {}


def test_a_filler_whose_frames_hold_its_pattern_is_proven(ram: FakeHostRam, oracle: Oracle) -> None:
    pages = ram.fill([ABOVE + 3, 1, 2])
    oracle.prove("victim-1", *pages.arrays(), run=RUN, guest=GUEST, filled=3)
    ram.write(1, b"x", 100)
    with pytest.raises(DisagreementError, match=r"filled 3 pages, .* 2 of its frames"):
        oracle.prove("victim-1", *pages.arrays(), run=RUN, guest=GUEST, filled=3)


def test_a_page_that_is_somewhere_else_is_not_proven(ram: FakeHostRam, oracle: Oracle) -> None:
    """As it would be if the machine's RAM were not where we look for it."""
    pages = ram.fill([1, 2])
    ram.write(1, page(1, 2))
    ram.write(2, page(0, 1))
    with pytest.raises(DisagreementError, match=r"0 of its frames"):
        oracle.prove("victim-1", *pages.arrays(), run=RUN, guest=GUEST, filled=2)


@pytest.mark.parametrize("shift", [0, 1, 2, 3, 4, 7])
def test_a_copy_is_found_wherever_it_is(ram: FakeHostRam, oracle: Oracle, shift: int) -> None:
    ram.write(ABOVE + 1, page(0, 1)[:48], 1000 + shift)
    ram.write(ABOVE + 1, page(0, 1), PAGE + shift)
    words = oracle.search(RUN, GUEST)
    assert words == {ABOVE + 1: 3, ABOVE + 2: 256}
    assert oracle.search(RUN, GUEST + 1) == {}


def test_closed_ram_is_mapped_no_more_though_the_oracle_lives(ram: FakeHostRam) -> None:
    """A failed test's traceback keeps its oracle: not the memory of a whole machine with it."""
    mapped = Path("/proc/self/maps")
    before = mapped.read_text().count("memfd:ram")
    oracle = Oracle(ram.memory, 0)
    assert mapped.read_text().count("memfd:ram") == before + 1
    oracle.ram.close()
    oracle.ram.close()
    assert mapped.read_text().count("memfd:ram") == before
    assert len(oracle.ram.pages) == 0
