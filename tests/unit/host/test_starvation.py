# SPDX-License-Identifier: MIT
"""How long threads have waited for a CPU, as the kernel has it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.host.emulated.starvation import starved_seconds, stolen_seconds

if TYPE_CHECKING:
    from pathlib import Path

BUSY = "import time; end = time.monotonic() + 0.5\nwhile time.monotonic() < end: pass"


def test_two_that_share_a_cpu_wait_for_each_other() -> None:
    cpu = min(os.sched_getaffinity(0))
    command = ["taskset", "-c", str(cpu), sys.executable, "-c", BUSY]
    processes = [subprocess.Popen(command) for _ in range(2)]
    waited = 0.0
    while all(process.poll() is None for process in processes):
        waited = max(starved_seconds(process.pid, [process.pid]) for process in processes)
        time.sleep(0.01)
    assert [process.wait() for process in processes] == [0, 0]
    assert waited > 0.1


def test_one_that_sleeps_waits_for_nothing() -> None:
    sleeper = threading.Thread(target=time.sleep, args=(0.3,))
    sleeper.start()
    assert sleeper.native_id is not None
    before = starved_seconds(os.getpid(), [sleeper.native_id])
    sleeper.join(0.2)
    assert starved_seconds(os.getpid(), [sleeper.native_id]) - before < 0.05
    sleeper.join()


@pytest.mark.parametrize("threads", [[], [0]])
def test_what_the_kernel_does_not_know_has_not_waited(threads: list[int]) -> None:
    assert starved_seconds(os.getpid(), threads) == 0.0


def test_steal_time_is_that_of_the_cpu_that_has_most_of_it(tmp_path: Path) -> None:
    stat = tmp_path / "stat"
    ticks = os.sysconf("SC_CLK_TCK")
    stat.write_text(
        f"cpu  9 0 9 9 9 0 0 {12 * ticks} 0 0\n"
        f"cpu0 9 0 9 9 9 0 0 {5 * ticks} 0 0\n"
        f"cpu1 9 0 9 9 9 0 0 {7 * ticks} 0 0\n"
        "intr 1 2 3 4 5 6 7 8 9\n"
    )
    assert stolen_seconds(stat) == 7.0
    stat.write_text("cpu 1 2 3\ncpu0 1 2 3\n")
    assert stolen_seconds(stat) == 0.0
    assert stolen_seconds(tmp_path / "none") == 0.0
