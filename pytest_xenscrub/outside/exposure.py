# SPDX-License-Identifier: MIT
"""How long a dead guest's bytes stay in RAM: which share of its frames holds them, over time."""

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
"""About so many frames are looked at each time, evenly spread; all of them only when none of these
holds anything: so a look takes 0.2 ms of a CPU that a dying guest's host may want, and the share is
good to 2 %."""
_MOST_KEPT: Final = 1024
"""Upper bound on what Xen's heap takes over while a guest dies; more than that is a leak."""
_DIGITS: Final = 4

Curve = list[tuple[float, float]]


@dataclass(frozen=True)
class Exposure:
    """What was seen of a guest's bytes. Times in s since its end was asked for.

    Attributes:
        memory_bytes: of the frames that held its pattern.
        curve: (time, share of those frames that hold bytes of it), in the order of time; what is
            on a plateau is left out.
        last_byte: when none held any; None if some still did when we stopped looking. Frames that
            Xen took for its heap do not count, if nothing else was left.
        half: when at most half of them did; None likewise.
        watched: when we looked last.
        byte_seconds: bytes in RAM, summed over time: the area below the curve.
        sampling_seconds: what looking took of a CPU of this machine, s.
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
    """Turn looks (moment, share) into figures.

    Args:
        points: the looks, from before `issued` on, on one clock with it, s.
        issued: when the guest's end was asked for.
        memory_bytes: what a share of 1 is.
        sampling_seconds: what looking took.
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
    """The curve, in which a share up to that size counts as nothing."""
    return [(at, 0.0 if held <= share else held) for at, held in points]


def _without_plateaus(curve: Curve) -> Curve:
    """All points but those between two others of the same share."""
    kept = [
        b for a, b, c in zip(curve, curve[1:], curve[2:], strict=False) if not a[1] == b[1] == c[1]
    ]
    return [curve[0], *kept, *curve[1:][-1:]]


class Recorder:
    """Looks at a guest's frames again and again, in a thread of its own, until told to stop.

    Args:
        oracle: the host's RAM.
        name: the guest's.
        frames: those that it has (MFNs); some of them hold its own data and not its pattern.
        run: its run's number in the pattern.
        guest: its own.
        filled: how many frames must hold its pattern now.
        ahead: how far the clock on which its end is timed is ahead of our monotonic one, s, if that
            had stood still whenever the host did.

    Raises:
        DisagreementError: not so many do.
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
        """Stop looking, at the latest after so long, s; what was seen."""
        self._thread.join(wait_seconds)
        self.stop()
        points = self._points
        if kept := self._kept():
            # Half a frame more, as shares are not exact.
            points = _without_last(points, (kept + 0.5) / self._all)
        return measure(points, self._issued, self._all * PAGE, self._cpu_seconds)

    def stop(self) -> None:
        """Stop looking now."""
        self._stop.set()
        self._thread.join()

    def _kept(self) -> int:
        """How many frames that still hold its bytes Xen has for its own heap; 0 if others do too.

        It takes them as they are, and scrubs them when it frees them: they may stay for ever, and
        no guest gets them meanwhile. All frames are looked at, and every word: while those of the
        heap stay, `_look` never comes to that.
        """
        if not 0 < len(self._left) <= _MOST_KEPT:
            return 0
        held = self._filled[self._oracle.hold(self._filled, np.array([self._owner]))]
        mfns = BitMap64(self._oracle.ram.mfns(held).tolist())
        with contextlib.suppress(InfrastructureError):  # a host that is gone tells nothing
            return len(mfns) if self._oracle.frame_table.xen_heap(mfns) == mfns else 0
        return 0

    def _now(self) -> float:
        """Our monotonic clock, but that it stands still with the host, s."""
        return time.monotonic() - self._oracle.stood_seconds()

    def _run(self) -> None:
        while len(self._left) and not self._stop.wait(PERIOD_SECONDS):
            self._points.append(self._look())
        self._cpu_seconds = time.thread_time()

    def _look(self) -> tuple[float, float]:
        """When, and which share of the frames holds any of the guest's bytes."""
        at = self._now()
        sample = self._left[:: max(1, len(self._left) // _SAMPLED_FRAMES)]
        held = np.count_nonzero(self._hold(sample)) / len(sample)
        if held:
            return at, held * len(self._left) / self._all
        left = self._left[self._hold(self._left)]
        at = self._now()
        if not (len(left) or self._in_full):
            # Two words of each page are gone; is there more of those that were scrubbed in part?
            self._in_full = True
            left = self._filled[self._hold(self._filled)]
        self._left = left
        return at, len(left) / self._all

    def _hold(self, rows: Rows) -> NDArray[np.bool_]:
        if self._in_full:
            return self._oracle.hold(rows, np.array([self._owner]))
        return self._oracle.hold_sampled(rows, self._owner)


class Witness:
    """Watches the guests of a test die.

    Args:
        oracle: the host's RAM.
    """

    def __init__(self, oracle: Oracle) -> None:
        self.oracle = oracle
        self._recorders: list[Recorder] = []

    def watch(
        self, name: str, frames: BitMap64, *, run: int, guest: int, filled: int, ahead: float
    ) -> Recorder:
        """Begin to look at a guest that is about to end; arguments and errors: see `Recorder`."""
        recorder = Recorder(
            self.oracle, name, frames, run=run, guest=guest, filled=filled, ahead=ahead
        )
        self._recorders.append(recorder)
        return recorder

    def close(self) -> None:
        """Stop looking."""
        for recorder in self._recorders:
            recorder.stop()
