# SPDX-License-Identifier: MIT
"""How fast the guest's kernel fills and reads memory, against plain C loops of dom0's.

Both handle the same number of bytes, with as many vCPUs as the other has threads; each is as fast
as its best round.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from _bench import report

from pytest_xenscrub.deadline import Deadline
from pytest_xenscrub.guest.events import Filled, Scanned
from pytest_xenscrub.units import GIB, MIB, PAGE

if TYPE_CHECKING:
    from pytest_xenscrub.dom0.client import Dom0
    from pytest_xenscrub.guest.factory import GuestFactory
    from pytest_xenscrub.guest_type import GuestType

BYTES = 256 * MIB
ROUNDS = 7


def loops(dom0: Dom0, tmp_path: Path, threads: int) -> tuple[float, float]:
    """What dom0's loops write and read, bytes/s."""
    program, remote = tmp_path / "loops", "/run/xenscrub-bench-loops"
    source = Path(__file__).with_name("loops.c")
    command = ["gcc", "-O2", "-static", "-pthread", "-o", str(program), str(source)]
    subprocess.run(command, check=True)
    dom0.host.put(program, remote, deadline=Deadline.after(60, "copying the loops"))
    script = f"chmod +x {remote} && {remote} {BYTES} {threads}; rm {remote}"
    done = dom0.run(["sh", "-c", script], deadline=Deadline.after(120, "loops")).check()
    write, read = (BYTES / float(line) for line in done.stdout.split())
    return write, read


def ours(
    guests: GuestFactory, dom0: Dom0, vcpus: int, guest_type: GuestType
) -> tuple[float, float]:
    """What a guest of a type writes and reads, bytes/s."""
    write, read = 0.0, 0.0
    for _ in range(ROUNDS):
        dom0.wait_drained(dom0.patience("backlog", dom0.total_bytes))
        guest = guests.create("bench", BYTES, "scan,fill", vcpus=vcpus, guest_type=guest_type)
        guest.ready()
        fill, scan = guest.last(Filled), guest.last(Scanned)
        assert fill is not None
        assert scan is not None
        write = max(write, fill.pages * PAGE / fill.ns * 1e9)
        read = max(read, scan.pages * PAGE / scan.ns * 1e9)
        guest.destroy(until="clean")
    return write, read


@pytest.mark.parametrize("threads", [1, 2])
def test_rates(guests: GuestFactory, dom0: Dom0, tmp_path: Path, threads: int) -> None:
    plain = loops(dom0, tmp_path, threads)
    for word, theirs in zip(("fill", "scan"), plain, strict=True):
        report(f"{word}, {threads} threads: a C loop in dom0", theirs / GIB, " GiB/s")
    types: list[GuestType] = ["pv", "pvh"]
    for kind in types:
        if not dom0.runs(kind):
            continue
        guest = ours(guests, dom0, threads, kind)
        for word, mine, theirs in zip(("fill", "scan"), guest, plain, strict=True):
            report(f"{word}, {threads} vCPUs: a {kind} guest", mine / GIB, " GiB/s")
            report(f"{word}, {threads} vCPUs: {kind} guest / C loop", mine / theirs, "x")
