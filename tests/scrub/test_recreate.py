# SPDX-License-Identifier: MIT
"""A guest is destroyed and another of its size built at once, from the same memory."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.deadline import Deadline
from pytest_xenscrub.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_xenscrub.dom0.client import Dom0
    from pytest_xenscrub.guest.factory import GuestFactory
    from pytest_xenscrub.scrub.probe import Probe
    from pytest_xenscrub.scrub.timing import Timings
    from pytest_xenscrub.scrub.victim import Victim
    from pytest_xenscrub.toolstack.protocol import Toolstack

XL_CONF = "/etc/xen/xl.conf"
LOOK_SECONDS = 20.0


def run(dom0: Dom0, *argv: str) -> str:
    """What a short command in dom0 prints."""
    return dom0.run(argv, deadline=Deadline.after(LOOK_SECONDS, " ".join(argv))).check().stdout


@pytest.fixture(params=["claims", "no-claims"])
def claims(request: pytest.FixtureRequest, toolstack: Toolstack, dom0: Dom0) -> Iterator[bool]:
    """Whether a guest's memory is claimed before it is built: xl's choice, its file's edited."""
    wanted = request.param == "claims"
    if toolstack.name != "xl":
        if wanted:
            pytest.skip(f"{toolstack.name} builds guests without claims, and has no switch for it")
        yield wanted
        return
    before = run(dom0, "cat", XL_CONF)
    others = re.sub(r"^\s*claim_mode\b.*\n?", "", before, flags=re.MULTILINE)
    dom0.write(XL_CONF, f"{others.rstrip()}\nclaim_mode={int(wanted)}\n")
    yield wanted
    dom0.write(XL_CONF, before)


@pytest.mark.quick
@pytest.mark.control
def test_recreated_guest_gets_clean_memory(
    victim: Victim, probe: Probe, timings: Timings, dom0: Dom0, *,
    guests: GuestFactory, claims: bool,
) -> None:  # fmt: skip
    """Memory that waits for its scrub is promised to nobody, and missing, if no counter has it.

    The victim has more than half of what is free, so that the next guest must get what it left:
    without ENOMEM, and clean.
    """
    victim.memory_bytes = max(victim.memory_bytes, dom0.free_bytes() * 9 // 16)
    frames = victim.fill()
    ended = victim.destroy(until="gone")
    timings.record(ended)
    try:
        again = guests.create("victim", victim.memory_bytes, "scan", even_if_short=True)
    except CommandError as error:
        pytest.fail(f"a guest's memory is not there for the next one of its size:\n{error}")
    timings.recreated(ended, again)
    again.ready()
    got = probe.verdict(frames, [again])
    assert not got.has_residue, str(got)
    again.do("fill")
    assert got.coverage > 0, "the new guest got nothing of what the victim left: nothing is proven"
    assert not (claims and dom0.claimed_bytes()), "a claim outlives the build that it was made for"

    frames |= again.frames
    timings.record(again.destroy(until="clean"))
    verdict = probe.read(frames)
    assert verdict.clean, str(verdict)
