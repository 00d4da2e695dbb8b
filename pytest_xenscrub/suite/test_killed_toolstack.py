# SPDX-License-Identifier: MIT
"""A toolstack that is killed while it builds a guest, and leaves a half-built one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.dom0.client import XEN_HEAP_BYTES
from pytest_xenscrub.identity import new_uuid
from pytest_xenscrub.scrub.scenario import require
from pytest_xenscrub.toolstack.protocol import DomainConfig
from pytest_xenscrub.units import GIB, KIB

if TYPE_CHECKING:
    from pytest_xenscrub.dom0.answers import DomainInfo
    from pytest_xenscrub.dom0.client import Dom0
    from pytest_xenscrub.guest.factory import GuestFactory
    from pytest_xenscrub.scrub.probe import Probe
    from pytest_xenscrub.scrub.timing import Timings
    from pytest_xenscrub.scrub.victim import Victim

SHARES = (0.1, 0.5, 0.9)
LARGEST_PART = 0.95
KILLER = """
import glob, signal, subprocess, sys
sys.path += glob.glob("/usr/lib/xen-*/lib/python") + glob.glob("/usr/lib*/xen/lib/python")
import xen.lowlevel.xc
xc = xen.lowlevel.xc.xc()
uuid, kib, command = bytes.fromhex(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
while not any(bytes(d["handle"]) == uuid and d["mem_kb"] >= kib for d in xc.domain_getinfo(0, 99)):
    if child.poll() is not None:
        break
child.kill()
sys.exit(child.wait() != -signal.SIGKILL)
"""
"""A program for dom0, because a guest is built faster than a process outside could react."""


def build_part(dom0: Dom0, config: DomainConfig, share: float, command: list[str]) -> DomainInfo:
    """Kill `xl create` as soon as a guest has this share of its memory.

    The guest may get more until xl is dead: one hypercall allocates up to 1 GiB.
    """
    step = f"killing xl create {config.name} at {share:.0%}"
    deadline = dom0.patience(step, config.memory_bytes)
    kib = str(int(share * config.memory_bytes) // KIB)
    killer = ["python3", "-c", KILLER, config.uuid.hex, kib, *command]
    dom0.run(killer, deadline=deadline).check()
    (left,) = [d for d in dom0.domains() if d.uuid == config.uuid]
    return left


@pytest.mark.quick
@pytest.mark.control
def test_half_built_guests_leave_nothing(
    victim: Victim, probe: Probe, timings: Timings, guests: GuestFactory, dom0: Dom0
) -> None:
    """A half-built guest's memory and its claim come back clean when it is destroyed.

    The guest would get all memory, including the victim's, and never ran: pages that Xen assigned
    to it before they were scrubbed must not keep the victim's bytes.
    """
    toolstack = guests.toolstack
    if (builder := toolstack.builder) is None:
        pytest.skip(f"{toolstack.name} builds guests in a daemon, which is not ours to kill")
    if guests.most_bytes() <= GIB:
        pytest.skip("one hypercall gives a guest up to 1 GiB, and no more than that is free")
    before = dom0.settled_free_bytes()
    frames = victim.fill()
    timings.record(victim.destroy(until="free"))
    parts = []
    for share in SHARES:
        config = DomainConfig(
            name=f"{guests.tag}-half-{share:.0%}",
            uuid=new_uuid(guests.tag),
            command_line="",
            memory_bytes=guests.most_bytes(),
            vcpus=1,
            type=guests.victim_type,
        )
        left = build_part(dom0, config, share, builder(config))
        parts.append(left.memory_bytes / config.memory_bytes)
        deadline = dom0.patience(f"{toolstack.name} destroy {config.name}", config.memory_bytes)
        toolstack.destroy(left.domid, until="free", deadline=deadline)
    require(min(parts) < LARGEST_PART, f"xl was killed too late, guests had {parts}")
    assert dom0.claimed_bytes() == 0, "memory is still promised to a guest that is gone"
    assert abs(before - dom0.settled_free_bytes()) <= XEN_HEAP_BYTES, "memory is missing"
    verdict = probe.read(frames)
    assert verdict.clean, str(verdict)
