# SPDX-License-Identifier: MIT
"""A host's RAM that is a small file: four frames below a hole, the rest above 4 GiB."""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING

import numpy as np
import pytest

from pytest_xenscrub.guest.frames import Group, PfnMap
from pytest_xenscrub.host.emulated.drain import Drain
from pytest_xenscrub.host.memory import Extent, HostMemory
from pytest_xenscrub.outside.oracle import Oracle
from pytest_xenscrub.outside.pattern import (
    KIND_MFN,
    KIND_PFN,
    POSITIONS,
    WORDS,
    frame_words,
    owner_word,
)
from pytest_xenscrub.units import GIB, PAGE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

BELOW = 4
ABOVE = 4 * GIB // PAGE
FRAMES = 64
RUN, GUEST = 0xABCDEF, 7


class FakeHostRam:
    """The file, written as guests and Xen would.

    Args:
        sparse: whether frames of zeros are given back at once.
    """

    def __init__(self, *, sparse: bool = False) -> None:
        self.sparse = sparse
        self.stood = 0.0
        self.fd = os.memfd_create("ram")
        os.ftruncate(self.fd, FRAMES * PAGE)
        self.memory = HostMemory(
            self.fd,
            FRAMES * PAGE,
            (
                Extent(0, 0, BELOW * PAGE),
                Extent(4 * GIB, BELOW * PAGE, (FRAMES - BELOW) * PAGE),
            ),
            lambda: [self.root * PAGE],
            sparse,
            lambda: self.stood,
        )
        self.root = ABOVE + FRAMES - BELOW - 1
        """The L4; the tables below it are in the frames before."""
        self.tables: dict[tuple[int, ...], int] = {(): self.root}

    def write(self, mfn: int, data: bytes, at: int = 0) -> None:
        row = mfn if mfn < BELOW else mfn - ABOVE + BELOW
        os.pwrite(self.fd, data, row * PAGE + at)

    def map(self, address: int, mfn: int) -> None:
        """Put a page into the page tables that the one CPU uses."""
        path: tuple[int, ...] = ()
        for shift in (39, 30, 21, 12):
            index = address >> shift & 511
            below = (*path, index)
            if shift > 12:
                target = self.tables.setdefault(below, self.root - len(self.tables))
            else:
                target = mfn
            self.write(self.tables[path], struct.pack("<Q", target * PAGE | 1), index * 8)
            path = below

    def fill(self, mfns: Iterable[int], *, guest: int = GUEST, run: int = RUN) -> PfnMap:
        """What a filler does; its pages are in the order of these frames."""
        pages = PfnMap()
        for pfn, mfn in enumerate(mfns):
            self.write(mfn, page(pfn, mfn, guest=guest, run=run))
            pages.add(Group(pfn, mfn, 1, 1, 1))
        return pages

    def scrub(self, mfns: Iterable[int], byte: int = 0) -> None:
        for mfn in mfns:
            self.write(mfn, bytes([byte]) * PAGE)
        if self.sparse:
            drain = Drain(self.fd, FRAMES * PAGE)
            drain.give_back()
            drain.close()


def page(pfn: int, mfn: int, *, guest: int = GUEST, run: int = RUN) -> bytes:
    """A page of the pattern."""
    owner = owner_word(run, guest)
    words = np.full(WORDS, owner, np.uint64)
    words[1::4] = frame_words(KIND_PFN, np.array([pfn], np.uint64), owner)
    words[3::4] = frame_words(KIND_MFN, np.array([mfn], np.uint64), owner)
    return (words + POSITIONS).tobytes()


@pytest.fixture(params=["dense", "sparse", "sparse, many"])
def ram(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHostRam]:
    """Dense, or sparse, where holes are told in one way for few frames and in another for many."""
    fake = FakeHostRam(sparse=request.param != "dense")
    if "many" in request.param:
        monkeypatch.setattr("pytest_xenscrub.outside.ram._FEW", 0)
    yield fake
    os.close(fake.fd)


@pytest.fixture
def oracle(ram: FakeHostRam) -> Oracle:
    return Oracle(ram.memory, 0)
