# SPDX-License-Identifier: MIT
"""The emulated host's RAM: a memory file of this process, which QEMU maps.

This process can map the file, too, and read it while the host runs. It also saves and loads the
file itself, without QEMU's migration stream, so that resuming a saved host only takes as long as
copying what is not zero.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import mmap
import os
import threading
from typing import TYPE_CHECKING

from pytest_xenscrub.host import holes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_BLOCK = 1 << 20
_GRAIN = 1 << 16
_CHUNK = 16 << 20
_MADV_POPULATE_WRITE = 23
"""Fault pages in for writing without changing them (Linux 5.14)."""


class Ram:
    """A memory file (memfd); the kernel removes it with the last process that has it open.

    Args:
        size: size of the file, bytes.
        sparse: whether the file takes only the memory that is written to it.
    """

    def __init__(self, size: int, *, sparse: bool = False) -> None:
        self.size = size
        self.sparse = sparse
        self.fd = os.memfd_create("xenscrub-ram", os.MFD_CLOEXEC)
        os.ftruncate(self.fd, size)
        self._map = mmap.mmap(self.fd, size)
        if not sparse:
            with contextlib.suppress(OSError):  # a kernel without huge pages is only slower
                self._map.madvise(mmap.MADV_HUGEPAGE)
        self._stop = threading.Event()
        self._filler: threading.Thread | None = None

    def close(self) -> None:
        """Close the file; may be called twice."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            self._stop.set()
            if self._filler is not None:
                self._filler.join()
            self._map.close()
            os.close(fd)

    def populate(self) -> None:
        """Populate all of it in the background.

        Otherwise the first guest of a resumed host pays for that, and the second one seems faster.
        Takes no more memory than a booting Xen does, which scrubs all of RAM.
        """
        self._filler = threading.Thread(target=self._populate, name="xenscrub-ram", daemon=True)
        self._filler.start()

    def wait_populated(self, timeout: float) -> bool:
        """Wait until all of it is populated; returns whether it is after `timeout` s."""
        if self._filler is not None:
            self._filler.join(timeout)
        return self._filler is None or not self._filler.is_alive()

    def _populate(self) -> None:
        madvise = ctypes.CDLL(None).madvise  # mmap's own method holds the interpreter's lock
        madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
        anchor = ctypes.c_char.from_buffer(self._map)
        try:
            for offset in range(0, self.size, _CHUNK):
                length = min(_CHUNK, self.size - offset)
                start = ctypes.addressof(anchor) + offset
                if self._stop.is_set() or madvise(start, length, _MADV_POPULATE_WRITE) != 0:
                    return
        finally:
            del anchor  # the mapping cannot be closed while something refers to it

    def save(self, folder: Path) -> None:
        """Write all that is not zero to `ram.bin` in `folder`, and its place to `ram.json`."""
        runs: list[tuple[int, int, int | None]] = []  # offset, bytes, the byte of a uniform run
        with (folder / "ram.bin").open("wb") as out:
            for offset in self._blocks():
                block = os.pread(self.fd, min(_BLOCK, self.size - offset), offset)
                uniform = _uniform(block)
                if uniform is not None:
                    _add(runs, offset, len(block), uniform)
                    continue
                for at in range(0, len(block), _GRAIN):
                    grain = block[at : at + _GRAIN]
                    byte = _uniform(grain)
                    if byte is None:
                        out.write(grain)
                    _add(runs, offset + at, len(grain), byte)
        index = {"size": self.size, "runs": [run for run in runs if run[2] != 0]}
        (folder / "ram.json").write_text(json.dumps(index))

    def _blocks(self) -> Iterator[int]:
        """Begin of each block that has data, and not only holes."""
        done = 0
        for start, end in holes.data(self.fd, self.size):
            for offset in range(max(done, start // _BLOCK * _BLOCK), end, _BLOCK):
                yield offset
                done = offset + _BLOCK

    def load(self, folder: Path) -> None:
        """Fill the RAM, which must be new and zero, with what `save` wrote.

        Raises:
            ValueError: the saved memory has another size, or is truncated.
            OSError: the saved memory cannot be read.
        """
        index = json.loads((folder / "ram.json").read_text())
        if index["size"] != self.size:
            raise ValueError(f"saved RAM has {index['size']} bytes, wanted {self.size}")
        with (folder / "ram.bin").open("rb") as saved:
            for offset, length, byte in index["runs"]:
                if byte is not None:
                    self._fill(offset, length, byte)
                    continue
                with memoryview(self._map)[offset : offset + length] as target:
                    if saved.readinto(target) != length:
                        raise ValueError("saved RAM is truncated")
            if saved.read(1):
                raise ValueError("saved RAM is longer than its index")

    def _fill(self, offset: int, length: int, byte: int) -> None:
        """Fill a range with one byte."""
        for at in range(offset, offset + length, _BLOCK):
            step = min(_BLOCK, offset + length - at)
            self._map[at : at + step] = bytes([byte]) * step


def _uniform(block: bytes) -> int | None:
    """The byte that fills all of `block`, or None."""
    return block[0] if block[0] == block[-1] and block == block[:1] * len(block) else None


def _add(
    runs: list[tuple[int, int, int | None]], offset: int, length: int, byte: int | None
) -> None:
    """Add a run, or extend the last one."""
    if runs and runs[-1][2] == byte and runs[-1][0] + runs[-1][1] == offset:
        runs[-1] = (runs[-1][0], runs[-1][1] + length, byte)
    else:
        runs.append((offset, length, byte))
