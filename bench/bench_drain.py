# SPDX-License-Identifier: MIT
"""How fast pages of zeros are found and given back, against writing and copying as much.

A host stands still meanwhile. What is compared is of one memory file; each is as fast as its best
round.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
from _bench import report

from pytest_xenscrub.host.emulated.drain import Drain
from pytest_xenscrub.units import GIB, MIB, PAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SIZE = GIB
CHUNK = 2 * MIB
ROUNDS = 3


class File:
    """A memory file, mapped to be written."""

    def __init__(self) -> None:
        self.fd = os.memfd_create("bench")
        os.ftruncate(self.fd, SIZE)
        self.map = mmap.mmap(self.fd, SIZE)
        self.drain = Drain(self.fd, SIZE)

    def close(self) -> None:
        self.drain.close()
        self.map.close()
        os.close(self.fd)

    def memset(self, byte: int = 0) -> None:
        anchor = ctypes.c_char.from_buffer(self.map)
        ctypes.memset(ctypes.addressof(anchor), byte, SIZE)
        del anchor

    def stripes(self) -> None:
        """Every other page of zeros."""
        self.memset()
        for page in range(0, SIZE, 2 * PAGE):
            self.map[page] = 1

    def copy(self) -> None:
        buffer = bytearray(CHUNK)
        for offset in range(0, SIZE, CHUNK):
            os.preadv(self.fd, [buffer], offset)

    def dd(self) -> None:
        path = f"/proc/{os.getpid()}/fd/{self.fd}"
        command = ["dd", f"if={path}", "of=/dev/null", f"bs={CHUNK}", "status=none"]
        subprocess.run(command, check=True)

    def give_back(self) -> None:
        self.drain.give_back()


@pytest.fixture
def file() -> Iterator[File]:
    made = File()
    yield made
    made.close()


def rate(work: Callable[[], None], before: Callable[[], object]) -> float:
    """GiB/s of the best round, each after what makes it ready."""
    best = 0.0
    for _ in range(ROUNDS):
        before()
        began = time.perf_counter()
        work()
        best = max(best, SIZE / GIB / (time.perf_counter() - began))
    return best


def test_drain(file: File) -> None:
    def nothing() -> None:
        pass

    report("memset of pages that are not there", rate(file.memset, file.give_back), " GiB/s")
    report("memset of pages that are", rate(file.memset, nothing), " GiB/s")
    report("copied by pread", rate(file.copy, nothing), " GiB/s")
    report("copied by dd", rate(file.dd, nothing), " GiB/s")
    report("drain: all zeros, all given back", rate(file.give_back, file.memset), " GiB/s")
    report("drain: half of the pages, one by one", rate(file.give_back, file.stripes), " GiB/s")
    report("drain: nothing to give back", rate(file.give_back, lambda: file.memset(0xC2)), " GiB/s")
