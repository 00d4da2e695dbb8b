# SPDX-License-Identifier: MIT
"""A verdict as a map of the machine's memory, small enough to be stored and drawn."""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from pyroaring import BitMap64

from pytest_xenscrub.outside.ram import to_array

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from numpy.typing import NDArray

    from pytest_xenscrub.scrub.verdict import Verdict

COLUMNS = 256
_MOST_ROWS = 128
_CHUNK = 1 << 24
"""Frames that are handled together; a machine with 1 TiB has 16 times as many."""
_WORST = 4
"""The kind of a pixel with residue."""


@dataclass(frozen=True)
class FrameMap:
    """A verdict, frame by frame.

    Attributes:
        title: the map's title.
        state: the verdict.
        pixels: the kind of each pixel, line by line: 0 not seen, 1 read and clean, 2 the victim's,
            read and clean, 3 the victim's and not read, 4 residue; the highest kind of its frames.
        frames_per_pixel: number of neighbouring frames in a pixel.
        counts: number of frames of each kind; kind 0 is not counted.
    """

    title: str
    state: str
    pixels: NDArray[np.uint8]
    frames_per_pixel: int
    counts: tuple[int, ...]

    def as_dict(self) -> dict[str, object]:
        """For the results' file. Pixels are compressed, as most of them equal their neighbours."""
        packed = base64.b64encode(zlib.compress(self.pixels.tobytes())).decode("ascii")
        return {
            "title": self.title,
            "state": self.state,
            "pixels": packed,
            "frames_per_pixel": self.frames_per_pixel,
            "counts": list(self.counts),
        }


def map_from(known: Mapping[str, Any]) -> FrameMap:
    """The map that `as_dict` turned into `known`.

    Raises:
        KeyError, TypeError, ValueError: `known` is not such a map.
    """
    unpacker = zlib.decompressobj()
    try:
        pixels = unpacker.decompress(base64.b64decode(known["pixels"]), COLUMNS * _MOST_ROWS + 1)
    except zlib.error as error:
        raise ValueError(str(error)) from None
    shown = np.frombuffer(pixels, dtype=np.uint8).reshape(-1, COLUMNS)
    per_pixel, counts = int(known["frames_per_pixel"]), tuple(map(int, known["counts"]))
    if not shown.size or shown.max() > _WORST or per_pixel < 1 or len(counts) != _WORST:
        raise ValueError("this is no map")
    return FrameMap(str(known["title"]), str(known["state"]), shown, per_pixel, counts)


def frame_map(verdict: Verdict, title: str) -> FrameMap:
    """The map of a verdict; made at once, because verdicts of large machines are not kept."""
    residue = (verdict.residue_frames - verdict.given_back) | verdict.outside_residue
    kinds = (
        verdict.clean_frames - verdict.filled,
        verdict.filled & verdict.clean_frames,
        verdict.filled - verdict.read_frames,
        residue,
    )
    last = max((frames.max() for frames in kinds if frames), default=0)
    per_pixel = -(-(last + 1) // (COLUMNS * _MOST_ROWS))
    lines = -(-(last + 1) // (COLUMNS * per_pixel))
    shown = np.zeros((lines, COLUMNS), dtype=np.uint8)
    at_once = max(1, _CHUNK // (COLUMNS * per_pixel))
    for line in range(0, lines, at_once):
        part = shown[line : line + at_once]
        first = line * COLUMNS * per_pixel
        here = BitMap64(range(first, first + part.size * per_pixel))
        seen = np.zeros(part.size * per_pixel, dtype=np.uint8)
        for number, frames in enumerate(kinds, start=1):
            seen[to_array(frames & here) - first] = number
        part[:] = seen.reshape(len(part), COLUMNS, per_pixel).max(axis=2)
    counts = tuple(len(frames) for frames in kinds)
    return FrameMap(title, verdict.state, shown, per_pixel, counts)
