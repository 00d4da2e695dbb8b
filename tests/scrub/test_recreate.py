# SPDX-License-Identifier: MIT
"""A guest is destroyed and another of its size built at once, from the same memory."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from pytest_xenscrub.deadline import Deadline
from pytest_xenscrub.errors import CommandError
from pytest_xenscrub.guest.factory import CREATE_SECONDS
from pytest_xenscrub.guest.guest import Guest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_xenscrub.dom0.client import Dom0
    from pytest_xenscrub.guest.factory import GuestFactory
    from pytest_xenscrub.rig import Rig
    from pytest_xenscrub.scrub.probe import Probe
    from pytest_xenscrub.scrub.timing import Timings
    from pytest_xenscrub.scrub.victim import Victim
    from pytest_xenscrub.toolstack.protocol import Toolstack

XL_CONF = "/etc/xen/xl.conf"
LOOK_SECONDS = 20.0


def run(dom0: Dom0, *argv: str) -> str:
    """What a short command in dom0 prints."""
    return dom0.run(argv, deadline=Deadline.after(LOOK_SECONDS, " ".join(argv))).check().stdout


def claimed_mib(dom0: Dom0) -> int:
    """Memory that is promised to guests that are being built, MiB."""
    found = re.search(r"^outstanding_claims\s*:\s*(\d+)", run(dom0, "xl", "info"), re.MULTILINE)
    assert found is not None, "xl info does not tell of claims"
    return int(found[1])


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


@pytest.fixture
def rebuild(guests: GuestFactory, xen_rig: Rig) -> Callable[[Guest], Guest]:
    """Builds a guest like another one, whatever Xen says is free: it reads before it fills."""
    toolstack = guests.toolstack

    def build(like: Guest) -> Guest:
        config = dataclasses.replace(
            like.config,
            name=f"{like.name}-again",
            uuid=uuid4(),
            command_line=like.config.command_line.replace("do=fill", "do=scan,fill"),
        )
        deadline = Deadline.after(CREATE_SECONDS, f"{toolstack.name} create {config.name}")
        try:
            created = toolstack.create(config, deadline=deadline)
        except CommandError as error:
            pytest.fail(f"a guest's memory is not there for the next one of its size:\n{error}")
        given_back = xen_rig.given_back
        return Guest(
            toolstack, guests.dom0, config, created, live=guests.live, given_back=given_back
        )

    return build


@pytest.mark.quick
@pytest.mark.control
def test_recreated_guest_gets_clean_memory(
    victim: Victim, probe: Probe, timings: Timings, dom0: Dom0, *,
    rebuild: Callable[[Guest], Guest], claims: bool,
) -> None:  # fmt: skip
    """Memory that waits for its scrub is promised to nobody, and missing, if no counter has it.

    The victim has more than half of what is free, so that the next guest must get what it left:
    without ENOMEM, and clean.
    """
    victim.memory_bytes = max(victim.memory_bytes, dom0.free_bytes() * 9 // 16)
    frames = victim.fill()
    ended = victim.destroy(until="gone")
    timings.record(ended)
    again = rebuild(victim.guest)
    timings.recreated(ended, again)
    again.ready()
    got = probe.verdict(frames, [again])
    assert not got.has_residue, str(got)
    assert got.coverage > 0, "the new guest got nothing of what the victim left: nothing is proven"
    assert not (claims and claimed_mib(dom0)), "a claim outlives the build that it was made for"

    frames |= again.frames
    timings.record(again.destroy(until="clean"))
    verdict = probe.read(frames)
    assert verdict.clean, str(verdict)
