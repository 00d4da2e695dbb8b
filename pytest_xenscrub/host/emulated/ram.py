# SPDX-License-Identifier: MIT
"""The emulated host's RAM: memory that we own and lend to QEMU, saved and loaded by ourselves.

As it is ours it can be mapped and read from outside while the host runs, and as QEMU does not
carry it in its migration stream a saved host is back in the time it takes to copy what is not zero.
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
    """A memory file (memfd); gone with the last process that holds it.

    Args:
        size: its size, bytes.
        sparse: whether it takes no more of this machine than what is written to it.
    """

    def __init__(self, size: int, *, sparse: bool = False) -> None:
        self.size = size
        self.sparse = sparse
        self.fd = os.memfd_create("xenscrub-ram", os.MFD_CLOEXEC)
        os.ftruncate(self.fd, size)
        self._map = mmap.mmap(self.fd, size)
        if not sparse:
            with contextlib.suppress(OSError):  # a kernel without them is slower, that is all
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
        """Have this machine hand out all of it now, in the background.

        Otherwise the first guest of a warm host pays for that, and the second seems faster. It is
        no more than what a booting Xen takes, as that scrubs all of its memory.
        """
        self._filler = threading.Thread(target=self._populate, name="xenscrub-ram", daemon=True)
        self._filler.start()

    def wait_populated(self, timeout: float) -> bool:
        """Wait until that is done; whether it is after `timeout` s."""
        if self._filler is not None:
            self._filler.join(timeout)
        return self._filler is None or not self._filler.is_alive()

    def _populate(self) -> None:
        madvise = ctypes.CDLL(None).madvise  # mmap's own keeps the interpreter's lock
        madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
        anchor = ctypes.c_char.from_buffer(self._map)
        try:
            for offset in range(0, self.size, _CHUNK):
                length = min(_CHUNK, self.size - offset)
                start = ctypes.addressof(anchor) + offset
                if self._stop.is_set() or madvise(start, length, _MADV_POPULATE_WRITE) != 0:
                    return
        finally:
            del anchor  # the mapping cannot be closed while it is exported

    def save(self, folder: Path) -> None:
        """Write what is not zero to `folder`: `ram.bin`, and `ram.json` that says where it goes."""
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
        """Where blocks begin that are not all hole."""
        done = 0
        for start, end in holes.data(self.fd, self.size):
            for offset in range(max(done, start // _BLOCK * _BLOCK), end, _BLOCK):
                yield offset
                done = offset + _BLOCK

    def load(self, folder: Path) -> None:
        """Fill it, fresh and zero as it is, from what `save` wrote.

        Raises:
            ValueError: the saved memory is of another size, or truncated.
            OSError: it cannot be read.
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
        """Write one byte all over a range."""
        for at in range(offset, offset + length, _BLOCK):
            step = min(_BLOCK, offset + length - at)
            self._map[at : at + step] = bytes([byte]) * step


def _uniform(block: bytes) -> int | None:
    """The byte that all of `block` is made of, or None."""
    return block[0] if block[0] == block[-1] and block == block[:1] * len(block) else None


def _add(
    runs: list[tuple[int, int, int | None]], offset: int, length: int, byte: int | None
) -> None:
    """Add a run, or make the last one longer."""
    if runs and runs[-1][2] == byte and runs[-1][0] + runs[-1][1] == offset:
        runs[-1] = (runs[-1][0], runs[-1][1] + length, byte)
    else:
        runs.append((offset, length, byte))
