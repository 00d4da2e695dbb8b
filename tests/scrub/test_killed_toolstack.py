# SPDX-License-Identifier: MIT
"""A toolstack that dies while it builds a guest leaves half of one behind."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from pytest_xenscrub.deadline import Deadline
from pytest_xenscrub.guest.factory import CREATE_SECONDS
from pytest_xenscrub.toolstack.protocol import DomainConfig
from pytest_xenscrub.toolstack.xl import Xl
from pytest_xenscrub.units import KIB

if TYPE_CHECKING:
    from pytest_xenscrub.dom0.client import Dom0, DomainInfo
    from pytest_xenscrub.guest.factory import GuestFactory
    from pytest_xenscrub.scrub.probe import Probe
    from pytest_xenscrub.scrub.timing import Timings
    from pytest_xenscrub.scrub.victim import Victim

SHARES = (0.1, 0.5, 0.9)
XEN_HEAP_BYTES = 64 * KIB
"""Xen's own heap may move by so much with the first guests of a host."""


def claimed_mib(dom0: Dom0) -> int:
    """Memory that is promised to guests that are being built, MiB."""
    info = dom0.run(["xl", "info"], deadline=Deadline.after(20, "xl info")).check().stdout
    found = re.search(r"^outstanding_claims\s*:\s*(\d+)", info, re.MULTILINE)
    assert found is not None, "xl info does not tell of claims"
    return int(found[1])


def build_part(xl: Xl, config: DomainConfig, share: float) -> DomainInfo:
    """Kill `xl create` as soon as a guest has that share of its memory: what is left of it."""
    dom0 = xl.dom0
    step = f"xl create {config.name}, up to {share:.0%} of its memory"
    deadline = Deadline.after(CREATE_SECONDS, step)
    create = dom0.host.popen(["sh", "-c", 'echo $$; exec "$@"', "sh", *xl.create_command(config)])
    with create:
        assert create.stdout is not None
        pid = int(create.stdout.readline())
        while True:
            found = [d for d in dom0.domains() if d.uuid == config.uuid]
            if found and found[0].memory_bytes >= share * config.memory_bytes:
                break
            assert create.poll() is None, "xl ended before it was killed"
            deadline.check(**dom0.evidence())
        dom0.run(["kill", "-9", str(pid)], deadline=deadline).check()
    (left,) = [d for d in dom0.domains() if d.uuid == config.uuid]
    return left


@pytest.mark.quick
@pytest.mark.control
def test_half_built_guests_leave_nothing(
    victim: Victim, probe: Probe, timings: Timings, guests: GuestFactory, dom0: Dom0
) -> None:
    """Its memory, and what was claimed for the rest of it, come back when it is cleaned up.

    It would get all memory, with what a victim left, and never ran: pages that were assigned to it
    before they were scrubbed must not keep the victim's bytes.
    """
    xl = guests.toolstack
    if not isinstance(xl, Xl):
        pytest.skip(f"{xl.name} builds guests in a daemon, which is not ours to kill")
    before = dom0.settled_free_bytes()
    frames = victim.fill()
    timings.record(victim.destroy(until="free"))
    for share in SHARES:
        config = DomainConfig(
            name=f"{guests.tag}-half-{share:.0%}",
            uuid=uuid4(),
            command_line="",
            memory_bytes=guests.most_bytes(),
            vcpus=1,
        )
        left = build_part(xl, config, share)
        assert left.paused
        xl.destroy(left.domid, until="clean", deadline=Deadline.after(60, f"xl destroy {config}"))
    assert claimed_mib(dom0) == 0, "memory is still promised to a guest that is gone"
    assert abs(before - dom0.settled_free_bytes()) <= XEN_HEAP_BYTES, "memory is missing"
    verdict = probe.read(frames)
    assert verdict.clean, str(verdict)
