# SPDX-License-Identifier: MIT
"""`Timings`: turns the moments of a guest's life and end into rows; see `row` for each figure."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pytest_xenscrub.deadline import STARVED_SHARE
from pytest_xenscrub.guest.events import Filled
from pytest_xenscrub.scrub.profile import profile_of
from pytest_xenscrub.scrub.row import Row
from pytest_xenscrub.scrub.series import series_of
from pytest_xenscrub.units import PAGE

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_xenscrub.dom0.answers import Reclaim
    from pytest_xenscrub.guest.events import Resumed
    from pytest_xenscrub.guest.guest import Ended, Guest
    from pytest_xenscrub.outside.exposure import Recorder
    from pytest_xenscrub.scrub.row import Setting
    from pytest_xenscrub.scrub.verdict import Verdict

STALL_GRAIN = 0.05
"""A stall that is no longer than one already told of by this, s, is the same: no row changes."""


class Timings:
    """Collects the rows of one test.

    Args:
        setting: the run, machine and Xen of the rows.
        changed: called with each row that is new or has a further figure.
        first_after_boot: says whether nothing was measured since the host booted; called once for
            each row.
        starved_seconds: says for how long other work has kept the host from running so far, s.
        stood_seconds: how long the host has stood still so far, its clock included, s.
        stalled_seconds: the longest time so far in which dom0 did not respond, s.
        max_starvation: share of the test's time above which starved rows are marked.
        first: number of the first row; above 0 if the test is run again.
    """

    def __init__(
        self,
        setting: Setting,
        changed: Callable[[Row], None] = lambda _: None,
        *,
        first_after_boot: Callable[[], bool] = lambda: False,
        starved_seconds: Callable[[], float] = lambda: 0.0,
        stood_seconds: Callable[[], float] = lambda: 0.0,
        stalled_seconds: Callable[[], float] = lambda: 0.0,
        max_starvation: float = STARVED_SHARE,
        first: int = 0,
    ) -> None:
        self.setting = setting
        self._first = first
        self._first_after_boot = first_after_boot
        self.rows: list[Row] = []
        self._changed = changed
        self._exposed: list[tuple[Row, Recorder]] = []
        self._starved_seconds = starved_seconds
        self._stood_seconds = stood_seconds
        self._stalled_seconds = stalled_seconds
        self._max_starvation = max_starvation
        self._begin = time.monotonic()
        self._starved_before = starved_seconds()
        self._stood_before = stood_seconds()

    def record(self, ended: Ended) -> Row:
        """Make a row for a guest that has ended."""
        guest, reclaim = ended.guest, ended.reclaim
        filled = guest.last(Filled)

        def since_issued(moment: float | None) -> float | None:
            return None if moment is None else moment - reclaim.issued

        sampled = filled if filled is not None and filled.sample is not None else None
        destroy, seen = since_issued(reclaim.returned), ended.samples
        row = Row(
            setting=self.setting,
            number=self._first + len(self.rows),
            how=ended.how,
            memory_bytes=guest.memory_bytes,
            vcpus=guest.config.vcpus,
            create=guest.created.seconds,
            fill=None if filled is None else filled.ns / 1e9,
            filled_bytes=None if sampled is None else sampled.pages * PAGE,
            filled_share=None if sampled is None else sampled.share,
            destroy=destroy,
            client=None if reclaim.command is None else reclaim.command.client_seconds,
            gone=since_issued(reclaim.gone),
            free=since_issued(reclaim.free),
            clean=since_issued(reclaim.clean),
            backlog_pages=_backlog_when_free(reclaim),
            first_after_boot=self._first_after_boot(),
            series=series_of(reclaim),
            profile=None if seen is None else profile_of(seen, destroy).as_dict(),
        )
        self.rows.append(row)
        self._mark_starved()
        self._changed(row)
        if ended.recorder is not None:
            self._exposed.append((row, ended.recorder))
        return row

    def recreated(self, ended: Ended, guest: Guest) -> None:
        """Add to the last row how long a guest of the same size took to be built after `ended`."""
        if ended.reclaim.returned is not None and self.rows:
            self.rows[-1].recreate = guest.created.returned - ended.reclaim.returned
            self._changed(self.rows[-1])

    def resumed(self, resumed: Resumed) -> None:
        """Add to the last row how long its guest stood still before it ran again."""
        if self.rows:
            self.rows[-1].downtime = resumed.ns / 1e9
            self._changed(self.rows[-1])

    def lost(self, cpu_seconds: float) -> None:
        """Add to the last row the CPU time that its guest's end cost other guests, s."""
        self.rows[-1].lost_cpu = cpu_seconds
        self._changed(self.rows[-1])

    def beside(self, create: float, destroy: float) -> None:
        """Add to the last row what small guests waited for at most while its guest died, s."""
        self.rows[-1].other_create, self.rows[-1].other_destroy = create, destroy
        self._changed(self.rows[-1])

    def judge(self, verdict: Verdict) -> None:
        """Add the verdict to all rows that have none."""
        for row in self.rows:
            if row.verdict is not None:
                continue
            row.probe_bytes_per_second = verdict.bytes_per_second
            row.coverage = verdict.coverage
            row.judged = verdict.judged
            row.found_share = None if verdict.sampled is None else verdict.sampled.found
            row.residue_frames = len(verdict.residue_in_victim)
            row.pattern_pages = verdict.pattern_pages
            row.verdict = verdict.state
            row.differences = "; ".join(verdict.differences) or None
            self._changed(row)

    def _mark_starved(self) -> None:
        """Write into every row how long the host was starved or stopped since the test began."""
        starved = max(0.0, self._starved_seconds() - self._starved_before)
        stood = max(0.0, self._stood_seconds() - self._stood_before)
        share = min(1.0, starved / max(1e-3, time.monotonic() - self._begin - stood))
        stall = self._stalled_seconds()
        for row in self.rows:
            row.stood = stood or None
            if stall > (row.stall or 0.0) + STALL_GRAIN:
                row.stall = stall
            row.starved = share
            row.too_starved = share > self._max_starvation

    def close(self) -> None:
        """Stop watching dead guests' bytes in RAM, and write exposure into the rows."""
        before = [(row.too_starved, row.stood, row.stall) for row in self.rows]
        self._mark_starved()
        for row, was in zip(self.rows, before, strict=True):
            if (row.too_starved, row.stood, row.stall) != was:
                self._changed(row)
        exposed, self._exposed = self._exposed, []
        for row, recorder in exposed:
            exposure = recorder.finish()
            row.exposure = exposure.last_byte
            row.exposure_half = exposure.half
            row.exposure_over = exposure.watched if exposure.last_byte is None else None
            row.exposed_byte_seconds = exposure.byte_seconds
            row.sampling_seconds = exposure.sampling_seconds
            row.exposure_curve = [[*point] for point in exposure.curve]
            self._changed(row)


def _backlog_when_free(reclaim: Reclaim) -> int | None:
    free = reclaim.free
    return next((n for at, n in reclaim.backlog if free is not None and at >= free), None)
