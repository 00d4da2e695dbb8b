# SPDX-License-Identifier: MIT
"""Guests that end without a destroy: their memory needs the same scrub."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_xenscrub.scrub.probe import Probe
    from pytest_xenscrub.scrub.timing import Timings
    from pytest_xenscrub.scrub.victim import Victim


@pytest.mark.quick
@pytest.mark.control
@pytest.mark.parametrize("how", ["crash", "poweroff"])
def test_guest_that_ends_leaves_nothing(
    victim: Victim, probe: Probe, timings: Timings, how: str
) -> None:
    """A guest that crashed or powered off leaves clean memory: the toolstack's other path."""
    frames = victim.fill()
    timings.record(victim.end(how))
    verdict = probe.read(frames)
    assert verdict.clean, str(verdict)


@pytest.mark.quick
@pytest.mark.control
def test_rebooted_guest_leaves_nothing(victim: Victim, probe: Probe, timings: Timings) -> None:
    """A reboot frees a domain's memory and builds a new domain at once, often from it.

    The new domain follows the same command line: it reads its memory before it fills it, and so is
    the first probe of the old domain.
    """
    victim.fill("scan")
    victim.guest.do("fill")
    frames = victim.frames
    timings.record(victim.end("reboot", until="gone"))
    victim.guest.follow_reboot()
    victim.guest.ready()
    verdict = probe.read(frames, beside=[victim.guest])
    assert verdict.clean, str(verdict)
