# SPDX-License-Identifier: MIT
"""What a run rests on is killed in the middle of a test: an ERROR, and never Xen's fault."""

from __future__ import annotations

import os
import re
import signal
import time
from typing import TYPE_CHECKING

import pytest

from .processes import below, command_of
from .runs import Run, running
from .suite import RUN_SECONDS

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.timeout(RUN_SECONDS + 30)]

PROJECT = """
import pathlib
import threading

MOMENT = {moment!r}

def reached(moment):
    if moment == MOMENT:
        threading.Timer({delay}, pathlib.Path({flag!r}).touch).start()

def test_hit(guests, victim, probe, timings):
    reached("create")
    guest = guests.create("victim", victim.memory_bytes, "fill")
    reached("fill")
    guest.ready()
    reached("destroy")
    timings.record(guest.destroy())
    reached("read")
    verdict = probe.read(guest.frames)
    assert verdict.clean, str(verdict)
"""


def kill(pattern: str, run: Run, flag: Path) -> None:
    """Kill the run's processes of that command line, once the run has come that far."""
    end = time.monotonic() + RUN_SECONDS
    while not flag.exists():
        if run.process.poll() is not None or time.monotonic() > end:
            pytest.fail(f"the moment did not come:\n{run.finish(1).output}")
        time.sleep(0.02)
    pids = [pid for pid in below(run.process.pid) if re.search(pattern, command_of(pid))]
    assert pids, f"no process of the run is {pattern}"
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


# So many seconds after a step has begun, it is still under way.
@pytest.mark.parametrize(
    ("pattern", "moment", "delay", "said"),
    [
        ("qemu-system", "create", 0.5, "QEMU"),
        ("qemu-system", "fill", 0.15, "QEMU"),
        ("qemu-system", "destroy", 0.4, "QEMU"),
        ("qemu-system", "read", 2.0, "QEMU"),
        ("ssh .*console", "fill", 0.15, "but Xen still runs the guest"),
    ],
)
def test_a_part_that_is_killed_is_an_error(
    pattern: str, moment: str, delay: float, said: str, tmp_path: Path
) -> None:
    """Exit status 75, one ERROR that names the part, and nothing FAILED."""
    flag, project = tmp_path / "reached", tmp_path / "test_project.py"
    project.write_text(PROJECT.format(moment=moment, delay=delay, flag=str(flag)))
    with running(
        str(project), f"--rootdir={tmp_path}", "--xen-host=emulated", "--xen-host-memory=3G",
        f"--xen-results={tmp_path / 'results.jsonl'}",
    ) as run:  # fmt: skip
        kill(pattern, run, flag)
        done = run.finish(RUN_SECONDS)
    print(done.output)
    assert done.status == 75, done.output
    assert "1 error" in done.output, done.output
    assert "failed" not in done.output, done.output
    assert said in done.output, done.output
