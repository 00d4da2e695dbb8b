# SPDX-License-Identifier: MIT
"""The positive control: probes must find pages that are not scrubbed by contract."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.errors import ResidueError
from pytest_xenscrub.units import PAGE

if TYPE_CHECKING:
    from pytest_xenscrub.run.managed_host import RunningXen
    from pytest_xenscrub.scrub.probe import Probe
    from pytest_xenscrub.scrub.timing import Timings
    from pytest_xenscrub.scrub.victim import Victim

LEAST_READ = 0.95
"""Least share of the pages given back that must be read: some of them become structures of the
probe."""


@pytest.mark.quick
def test_ballooned_pages_are_found(
    victim: Victim, probe: Probe, timings: Timings, running_xen: RunningXen
) -> None:
    """Probes find exactly the pages that a live guest gave back, with the guest's data.

    Xen leaves the scrubbing of such pages to the guest, unless booted with `scrub-domheap`. The
    first probe sweeps the heap: it owns those pages when it dies, so Xen scrubs them then.
    """
    victim.fill()
    given_back = victim.balloon_out(victim.memory_bytes // 4 // PAGE)
    verdict = probe.read(given_back)
    swept = verdict.read_frames
    assert verdict.coverage >= LEAST_READ, str(verdict)
    if running_xen.info.scrubs_all:
        # A verdict excuses what a live guest gave back.
        if verdict.residue_frames & given_back:
            raise ResidueError(str(verdict))
    else:
        # All of them, and no pattern anywhere else, except where guests of earlier tests had given
        # frames back too; other data in other frames is dom0's or Xen's.
        expected = given_back & verdict.covered
        assert verdict.residue_frames & given_back == expected, str(verdict)
        assert expected <= verdict.pattern_frames, str(verdict)
        assert not verdict.pattern_frames - verdict.given_back, str(verdict)
    assert victim.verify().mismatched == 0, "the live guest's own memory was touched"
    frames = victim.frames
    timings.record(victim.destroy())
    verdict = probe.read(frames)
    assert verdict.clean, str(verdict)
    assert not verdict.residue_frames & swept, str(verdict)
