# SPDX-License-Identifier: MIT
"""Measures how long a dead guest's bytes stay in RAM, as the share of its frames that hold them."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from pyroaring import BitMap64

from pytest_xenscrub.errors import DisagreementError, InfrastructureError
from pytest_xenscrub.outside.pattern import owner_word
from pytest_xenscrub.outside.ram import to_array
from pytest_xenscrub.units import PAGE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_xenscrub.outside.oracle import Oracle
    from pytest_xenscrub.outside.ram import Rows

PERIOD_SECONDS: Final = 0.025
"""Time between two looks at RAM."""
_SAMPLED_FRAMES: Final = 2048
"""Number of frames in a look, evenly spread. All frames are looked at only when none of the sample
holds bytes. So a look takes 0.2 ms of a CPU that the host may need, and the share is accurate to 2
%."""
_MOST_KEPT: Final = 1024
"""Upper bound on what Xen's heap takes over while a guest dies; more than that is a leak."""
_DIGITS: Final = 4

Curve = list[tuple[float, float]]


@dataclass(frozen=True)
class Exposure:
    """How long a guest's bytes stayed in RAM. Times in s since its end was asked for.

    Attributes:
        memory_bytes: size of all frames that held the guest's pattern.
        curve: (time, share of those frames that hold bytes of the pattern), in the order of time,
            without points inside a plateau.
        last_byte: time at which no frame held any; None if some did at the last look. Frames that
            Xen took for its heap do not count if no other frame holds bytes.
        half: time at which at most half of the frames did; None if more did at the last look.
        watched: time of the last look.
        byte_seconds: bytes in RAM, summed over time: the area below the curve.
        sampling_seconds: CPU time of this machine that the looks took, s.
    """

    memory_bytes: int
    curve: Curve
    last_byte: float | None
    half: float | None
    watched: float
    byte_seconds: float
    sampling_seconds: float

    def __str__(self) -> str:
        if self.last_byte is not None:
            return f"its last byte was gone {self.last_byte:.2f} s after its end was asked for"
        return (
            f"its bytes were not gone within {self.watched:.2f} s: {self.curve[-1][1]:.2%} of its"
            " frames still hold them"
        )


def measure(points: Curve, issued: float, memory_bytes: int, sampling_seconds: float) -> Exposure:
    """Turn looks (moment, share) into an `Exposure`.

    Args:
        points: the looks, from before `issued` on, on the same clock, s.
        issued: when the guest's end was asked for.
        memory_bytes: size of all frames together.
        sampling_seconds: CPU time that the looks took.
    """
    before = [share for at, share in points if at <= issued]
    curve = [(0.0, before[-1] if before else 1.0)]
    curve += [(round(at - issued, _DIGITS), share) for at, share in points if at > issued]
    area = sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in itertools.pairwise(curve))
    gone, half = (
        next((at for at, share in curve if share <= most), None) for most in (0.0, 0.5)
    )  # fmt: skip
    return Exposure(
        memory_bytes=memory_bytes,
        curve=_without_plateaus([(at, round(share, _DIGITS)) for at, share in curve]),
        last_byte=gone,
        half=half,
        watched=curve[-1][0],
        byte_seconds=area * memory_bytes,
        sampling_seconds=sampling_seconds,
    )


def _without_last(points: Curve, share: float) -> Curve:
    """Set all shares up to `share` to 0."""
    return [(at, 0.0 if held <= share else held) for at, held in points]


def _without_plateaus(curve: Curve) -> Curve:
    """Drop the points between two others of the same share."""
    kept = [
        b for a, b, c in zip(curve, curve[1:], curve[2:], strict=False) if not a[1] == b[1] == c[1]
    ]
    return [curve[0], *kept, *curve[1:][-1:]]


class Recorder:
    """Looks at a guest's frames in a thread, every 25 ms, until told to stop.

    Args:
        oracle: the host's RAM.
        name: the guest's name.
        frames: the guest's frames (MFNs); some of them hold its own data, and not its pattern.
        run: the run's number in the pattern.
        guest: the guest's number in the pattern.
        filled: number of frames that must hold the pattern now.
        ahead: difference between dom0's clock, by which the guest's end is timed, and this
            machine's monotonic clock without the time in which the host was stopped, s.

    Raises:
        DisagreementError: another number of frames holds the pattern.
    """

    def __init__(
        self, oracle: Oracle, name: str, frames: BitMap64, *, run: int, guest: int, filled: int,
        ahead: float = 0.0,
    ) -> None:  # fmt: skip
        self._oracle = oracle
        self._owner = np.uint64(owner_word(run, guest))
        rows = oracle.ram.rows(to_array(frames))
        self._filled = self._left = rows[oracle.hold_sampled(rows, self._owner)]
        if len(self._left) != filled:
            raise DisagreementError(
                f"{name} has {filled} filled pages, and seen from outside {len(self._left)} of its"
                " frames hold its pattern",
                todo="a bug of pytest-xenscrub: did its frames change since it reported them?",
            )
        self._all = filled
        self._ahead = ahead
        self._in_full = False
        self._points: Curve = [(self._now(), 1.0)]
        self._issued = self._points[0][0]
        self._cpu_seconds = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="xenscrub-exposure", daemon=True)
        self._thread.start()

    def issued(self, at: float) -> None:
        """Note when the guest's end was issued, s on dom0's clock."""
        self._issued = at - self._ahead

    def finish(self, wait_seconds: float = 0.0) -> Exposure:
        """Stop looking after `wait_seconds`, or earlier if no byte is left; gives the exposure."""
        self._thread.join(wait_seconds)
        self.stop()
        points = self._points
        if kept := self._kept():
            # Half a frame more, because shares are rounded.
            points = _without_last(points, (kept + 0.5) / self._all)
        return measure(points, self._issued, self._all * PAGE, self._cpu_seconds)

    def stop(self) -> None:
        """Stop looking now."""
        self._stop.set()
        self._thread.join()

    def _kept(self) -> int:
        """Count the frames with the guest's bytes if all of them belong to Xen's heap; else 0.

        Xen takes pages for its heap unscrubbed, and scrubs them when it frees them, so bytes may
        stay there for ever, and no guest gets them meanwhile. Reads every word of all frames, which
        `_look` does only once its quick look finds nothing.
        """
        if not 0 < len(self._left) <= _MOST_KEPT:
            return 0
        held = self._filled[self._oracle.hold(self._filled, np.array([self._owner]))]
        mfns = BitMap64(self._oracle.ram.mfns(held).tolist())
        with contextlib.suppress(InfrastructureError):  # a host that is gone cannot be asked
            return len(mfns) if self._oracle.frame_table.xen_heap(mfns) == mfns else 0
        return 0

    def _now(self) -> float:
        """This machine's monotonic clock, without the time in which the host was stopped, s."""
        return time.monotonic() - self._oracle.stood_seconds()

    def _run(self) -> None:
        while len(self._left) and not self._stop.wait(PERIOD_SECONDS):
            self._points.append(self._look())
        self._cpu_seconds = time.thread_time()

    def _look(self) -> tuple[float, float]:
        """The moment of a look, and the share of frames that still hold the guest's bytes."""
        at = self._now()
        sample = self._left[:: max(1, len(self._left) // _SAMPLED_FRAMES)]
        held = np.count_nonzero(self._hold(sample)) / len(sample)
        if held:
            return at, held * len(self._left) / self._all
        left = self._left[self._hold(self._left)]
        at = self._now()
        if not (len(left) or self._in_full):
            # The quick look read only two words of each page; now look for partly scrubbed pages in
            # full.
            self._in_full = True
            left = self._filled[self._hold(self._filled)]
        self._left = left
        return at, len(left) / self._all

    def _hold(self, rows: Rows) -> NDArray[np.bool_]:
        if self._in_full:
            return self._oracle.hold(rows, np.array([self._owner]))
        return self._oracle.hold_sampled(rows, self._owner)


class Witness:
    """Watches how guests of a test leave RAM when they end.

    Args:
        oracle: the host's RAM.
    """

    def __init__(self, oracle: Oracle) -> None:
        self.oracle = oracle
        self._recorders: list[Recorder] = []

    def watch(
        self, name: str, frames: BitMap64, *, run: int, guest: int, filled: int, ahead: float
    ) -> Recorder:
        """Start to watch a guest that is about to end; arguments and errors: see `Recorder`."""
        recorder = Recorder(
            self.oracle, name, frames, run=run, guest=guest, filled=filled, ahead=ahead
        )
        self._recorders.append(recorder)
        return recorder

    def close(self) -> None:
        """Stop watching all guests."""
        for recorder in self._recorders:
            recorder.stop()
