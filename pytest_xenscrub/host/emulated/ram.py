# SPDX-License-Identifier: MIT
"""The emulated host's RAM: memory that we own and lend to QEMU, saved and loaded by ourselves.

As it is ours it can be mapped and read from outside while the host runs, and as QEMU does not
carry it in its migration stream a saved host is back in the time it takes to copy what is not zero.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

_BLOCK = 1 << 20
_GRAIN = 1 << 16


class Ram:
    """A memory file (memfd) of `size` bytes; gone with the last process that holds it."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.fd = os.memfd_create("xenscrub-ram", os.MFD_CLOEXEC)
        os.ftruncate(self.fd, size)

    def close(self) -> None:
        """Let go of it; may be called twice."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    def save(self, folder: Path) -> None:
        """Write what is not zero to `folder`: `ram.bin`, and `ram.json` that says where it goes."""
        runs: list[tuple[int, int, int | None]] = []  # offset, bytes, the byte of a uniform run
        with (folder / "ram.bin").open("wb") as out:
            for offset in range(0, self.size, _BLOCK):
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

    def load(self, folder: Path) -> None:
        """Fill it, fresh and zero as it is, from what `save` wrote.

        Raises:
            ValueError: the saved memory is of another size, or truncated.
            OSError: it cannot be read.
        """
        index = json.loads((folder / "ram.json").read_text())
        if index["size"] != self.size:
            raise ValueError(f"saved RAM has {index['size']} bytes, wanted {self.size}")
        with (folder / "ram.bin").open("rb", buffering=0) as saved:
            for offset, length, byte in index["runs"]:
                at, end = offset, offset + length
                while at < end:
                    step = min(_BLOCK, end - at)
                    chunk = saved.read(step) if byte is None else bytes([byte]) * step
                    if not chunk:
                        raise ValueError("saved RAM is truncated")
                    os.pwrite(self.fd, chunk, at)
                    at += len(chunk)
            if saved.read(1):
                raise ValueError("saved RAM is longer than its index")


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
