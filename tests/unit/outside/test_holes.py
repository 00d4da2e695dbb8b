# SPDX-License-Identifier: MIT
"""Whoever looks at sparse RAM sees zeros in its holes, and fills none of them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
from pyroaring import BitMap64

from pytest_xenscrub.host import holes
from pytest_xenscrub.outside.exposure import Recorder
from pytest_xenscrub.outside.oracle import Oracle
from pytest_xenscrub.outside.pattern import owner_word
from pytest_xenscrub.outside.ram import RamView

from .conftest import ABOVE, BELOW, FRAMES, GUEST, RUN, FakeHostRam

if TYPE_CHECKING:
    from collections.abc import Iterator

LAST = ABOVE + FRAMES - BELOW - 1
ALL = BitMap64([*range(BELOW), *range(ABOVE, LAST + 1)])
HELD = [1, ABOVE + 3, ABOVE + 4, ABOVE + 20, LAST]


@pytest.fixture
def looked_at(ram: FakeHostRam) -> Iterator[FakeHostRam]:
    """RAM with five frames that hold something: as many after the test."""
    ram.sparse = True
    ram.memory = ram.memory._replace(sparse=True)
    ram.fill(HELD)
    before = holes.used_bytes(ram.fd)
    assert before == len(HELD) * 4096
    yield ram
    assert holes.used_bytes(ram.fd) == before


def test_holes_are_clean(looked_at: FakeHostRam) -> None:
    oracle = Oracle(looked_at.memory, 0)
    assert oracle.clean(ALL) == ALL - BitMap64(HELD)
    assert oracle.holding(ALL, RUN, [GUEST]) == BitMap64(HELD)


def test_holes_are_not_what_a_debug_build_scrubs_with(looked_at: FakeHostRam) -> None:
    assert Oracle(looked_at.memory, 0xC2).clean(ALL) == BitMap64()


def test_a_search_passes_over_them(looked_at: FakeHostRam) -> None:
    found = Oracle(looked_at.memory, 0).search(RUN, GUEST)
    assert found == dict.fromkeys(HELD, 256)


def test_a_quick_look_fills_none(looked_at: FakeHostRam) -> None:
    oracle = Oracle(looked_at.memory, 0)
    rows = oracle.ram.rows([*ALL])
    held = oracle.hold_sampled(rows, np.uint64(owner_word(RUN, GUEST)))
    assert oracle.ram.mfns(rows[held]).tolist() == HELD


def test_rows_in_any_order_and_more_than_once(looked_at: FakeHostRam) -> None:
    view = RamView(looked_at.memory)
    rows = view.rows([LAST, 0, ABOVE + 4, ABOVE + 4, 0, 1, ABOVE + 21])
    assert view.there(rows).tolist() == [True, False, True, True, False, True, False]
    assert view.there(rows[:0]).tolist() == []
    view.close()


def test_a_view_of_dense_ram_has_no_holes(looked_at: FakeHostRam) -> None:
    view = RamView(looked_at.memory._replace(sparse=False))
    assert view.there(view.rows([*ALL])).all()
    assert list(view.data()) == [(0, FRAMES)]
    view.close()


def test_a_view_may_be_closed_twice_and_after_the_host(looked_at: FakeHostRam) -> None:
    view = RamView(looked_at.memory)
    view.close()
    view.close()
    assert len(view.pages) == 0


def test_exposure_does_not_count_while_the_host_stands_still() -> None:
    ram = FakeHostRam(sparse=True)
    frames = BitMap64(range(ABOVE, ABOVE + 8))
    ram.fill(frames)
    recorder = Recorder(
        Oracle(ram.memory, 0), "victim-1", frames, run=RUN, guest=GUEST, filled=len(frames)
    )
    recorder.issued(time.monotonic())
    time.sleep(0.1)
    ram.stood = 100.0
    ram.scrub(frames)
    seen = recorder.finish(5)
    assert seen.last_byte is not None
    assert seen.last_byte < 1
