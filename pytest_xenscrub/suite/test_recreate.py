# SPDX-License-Identifier: MIT
"""A guest is destroyed, and another of its size is built at once from the same memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.errors import CommandError
from pytest_xenscrub.scrub.scenario import require
from pytest_xenscrub.toolstack.protocol import wants_memory

if TYPE_CHECKING:
    from pytest_xenscrub.dom0.client import Dom0
    from pytest_xenscrub.guest.factory import GuestFactory
    from pytest_xenscrub.scrub.probe import Probe
    from pytest_xenscrub.scrub.timing import Timings
    from pytest_xenscrub.scrub.victim import Victim


@pytest.fixture(params=["claims", "no-claims"])
def claims(request: pytest.FixtureRequest, guests: GuestFactory) -> bool:
    """Whether a guest's memory is claimed before it is built."""
    wanted: bool = request.param == "claims"
    toolstack = guests.toolstack
    if wanted not in toolstack.claims:
        pytest.skip(f"{toolstack.name} builds guests without claims, and has no switch for it")
    guests.claim = wanted
    return wanted


@pytest.mark.quick
@pytest.mark.control
def test_recreated_guest_gets_clean_memory(
    victim: Victim, probe: Probe, timings: Timings, dom0: Dom0, *,
    guests: GuestFactory, claims: bool,
) -> None:  # fmt: skip
    """The next guest gets clean memory without ENOMEM, although the backlog still waits.

    The victim has more than half of the free memory, so that the next guest must get the victim's
    frames. Memory that waits for its scrub and is in no counter would be missing here.
    """
    victim.memory_bytes = max(victim.memory_bytes, dom0.free_bytes() * 9 // 16)
    frames = victim.fill()
    ended = victim.destroy(until="gone")
    timings.record(ended)
    try:
        again = guests.create("victim", victim.memory_bytes, "scan", even_if_short=True)
    except CommandError as error:
        if not wants_memory(error):
            raise
        pytest.fail(f"a guest's memory is not there for the next one of its size:\n{error}")
    timings.recreated(ended, again)
    again.ready()
    got = probe.verdict(frames, [again])
    assert not got.has_residue, str(got)
    require(got.coverage, "the new guest got nothing of what the victim left")
    assert not (claims and dom0.claimed_bytes()), "a claim outlives the build that it was made for"
    verdict = probe.read(frames, beside=[again])
    assert verdict.clean, str(verdict)
