# SPDX-License-Identifier: MIT
"""A run is hit in the middle of a create or a destroy, by all that ends runs and breaks hosts.

What it had measured is on disk, the machine is as it was found, and what follows finds it usable.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.boot.reboot import wait_for_boot
from pytest_xenscrub.deadline import Deadline

from .processes import below, command_of
from .runs import lab_machine, over_ssh, run_pytest, running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_xenscrub.host.ssh import SshHost
    from pytest_xenscrub.testing import LabMachine

    from .runs import Run

RUN_SECONDS = 300.0
REACH_SECONDS = 150.0
MEMORY = 2 << 30
ARMED, REACHED = "/run/faults-armed", "/run/faults-reached"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

PROJECT = """
import pytest

MOMENT = {moment!r}

def test_before(victim, probe, timings):
    frames = victim.fill()
    timings.record(victim.destroy())
    verdict = probe.read(frames)
    assert verdict.clean, str(verdict)

{mark}
def test_hit(victim, timings, dom0):
    if MOMENT == "create":
        dom0.write("{armed}", MOMENT)
        victim.fill()
    else:
        victim.fill()
        dom0.write("{armed}", MOMENT)
        timings.record(victim.destroy())

def test_after(victim, timings):
    victim.fill()
    timings.record(victim.destroy())
"""
STATE = """
xl vm-list | grep -E '^78736362-|xenscrub-'
ls -d /run/xenscrub-* /var/log/xen/xl-xenscrub-* 2> /dev/null
sha256sum /etc/xen/xl.conf
"""


@dataclass
class Bench:
    """A machine that outlives the runs on it, and what was counted."""

    machine: LabMachine
    host: SshHost
    faults: int = 0
    found: dict[str, str] = field(default_factory=dict)

    def sh(self, script: str, seconds: float = 60.0) -> str:
        argv = ["sh", "-c", script]
        deadline = Deadline.after(seconds, script)
        return self.host.run(argv, deadline=deadline, check=False).stdout

    def wait_reached(self, run: Run) -> None:
        """Until xl stands half-way."""
        end = time.monotonic() + REACH_SECONDS
        while not self.sh(f"ls {REACHED} 2> /dev/null"):
            if run.process.poll() is not None or time.monotonic() > end:
                pytest.fail(f"the moment did not come:\n{run.finish(1).output}")
            time.sleep(0.2)

    def again(self) -> None:
        """Our own way to it, after all that may have happened."""
        self.host.disconnect()
        wait_for_boot(self.host, None, Deadline.after(200, "the machine answers"))
        self.machine.cut_network(cut=False)


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with lab_machine(MEMORY) as machine, contextlib.closing(machine.connect()) as host:
        bench = Bench(machine, host)
        slow = Path(__file__).with_name("slow_xl.py")
        host.put(slow, "/usr/local/sbin/xl", deadline=Deadline.after(60, "the slow xl"))
        bench.sh("chmod 755 /usr/local/sbin/xl; sync")
        bench.found["at first"] = bench.sh(STATE)
        yield bench
        print(f"{bench.faults} faults")


# -- faults ------------------------------------------------------------------------------------


def signals(number: signal.Signals, pattern: str = "") -> Callable[[Bench, Run], None]:
    """To pytest itself, or to those below it whose command line matches."""

    def inject(_: Bench, run: Run) -> None:
        pids = [run.process.pid]
        if pattern:
            pids = [pid for pid in below(run.process.pid) if re.search(pattern, command_of(pid))]
        assert pids, f"no process of the run is {pattern}"
        for pid in pids:
            os.kill(pid, number)

    return inject


def nothing(_bench: Bench, _run: Run) -> None:
    """Time alone is the fault."""


def freeze(bench: Bench, _run: Run) -> None:
    bench.machine.freeze()


def cut(bench: Bench, _run: Run) -> None:
    bench.machine.cut_network(cut=True)
    time.sleep(25)
    bench.machine.cut_network(cut=False)


def crash_dom0(bench: Bench, _run: Run) -> None:
    with contextlib.suppress(Exception):
        bench.sh("echo c > /proc/sysrq-trigger", seconds=3)


def fill_disk(bench: Bench, _run: Run) -> None:
    bench.sh("fallocate -l $(df --output=avail -B1 /run | tail -n 1) /run/faults-filler")


@dataclass(frozen=True)
class Fault:
    """What is done, and how the run must end.

    Attributes:
        inject: does it.
        status: the run's exit status.
        said: what its output says.
        outcomes: as pytest's last line counts them.
        options: for the run.
        mark: of the test that is hit.
        next_run: whether what is left may stay until the next run.
        at_destroy: the run's exit status where a destroy is hit, if that is another one.
    """

    inject: Callable[[Bench, Run], None]
    status: int
    said: str = ""
    outcomes: str = ""
    options: tuple[str, ...] = ()
    mark: str = ""
    next_run: bool = False
    at_destroy: int | None = None


MASTER = r"ControlMaster=yes"
WORKER = r"exec\(eval\(sys\.stdin\.readline"
FAULTS = {
    "ctrl-c": Fault(signals(signal.SIGINT), 2, "KeyboardInterrupt"),
    "sigterm": Fault(signals(signal.SIGTERM), 2, "SIGTERM"),
    "timeout": Fault(
        nothing, 75, "Timeout", "2 passed, 1 error", mark="@pytest.mark.timeout(8, func_only=True)"
    ),
    "killed": Fault(signals(signal.SIGKILL), -9, next_run=True),
    "worker-killed": Fault(
        signals(signal.SIGKILL, WORKER), 75, "crashed while running", "1 failed, 2 passed",
        options=("-n1",), next_run=True,
    ),
    "master-killed": Fault(signals(signal.SIGKILL, MASTER), 75, "", "2 passed, 1 error"),
    "master-stopped": Fault(
        signals(signal.SIGSTOP, MASTER), 75, "dom0 stopped responding", "2 passed, 1 error"
    ),
    "network-cut": Fault(cut, 75, "dom0 stopped responding", "2 passed, 1 error"),
    "hang": Fault(freeze, 75, "does not answer: power-cycled", "2 passed, 1 error"),
    "dom0-crash": Fault(crash_dom0, 1, "Hardware Dom0 crashed", "1 failed, 2 passed"),
    # A destroy needs no disk: only the next test does.
    "disk-full": Fault(fill_disk, 1, "No space left on device", "1 error", at_destroy=75),
}  # fmt: skip


def rows(results: Path) -> list[dict[str, object]]:
    """The measurements in a results file; a line that is no JSON is an error."""
    lines = [json.loads(line) for line in results.read_text().splitlines()]
    return [line for line in lines if "fit" not in line]


@pytest.mark.parametrize("moment", ["create", "destroy"])
@pytest.mark.parametrize("name", FAULTS)
def test_a_run_that_is_hit(name: str, moment: str, bench: Bench, tmp_path: Path) -> None:
    """Nothing that was measured is lost, and no guest stays."""
    fault = FAULTS[name]
    bench.sh(f"rm -f {ARMED} {REACHED} /run/faults-filler")
    project = tmp_path / "test_project.py"
    project.write_text(PROJECT.format(moment=moment, mark=fault.mark, armed=ARMED))
    results = tmp_path / "results.jsonl"
    options = [
        str(project), f"--rootdir={tmp_path}", "-p", "no:randomly", "--xen-guest-memory=256M",
        *over_ssh(bench.machine),
    ]  # fmt: skip
    with running(*options, f"--xen-results={results}", *fault.options) as run:
        bench.wait_reached(run)
        begin = time.monotonic()
        fault.inject(bench, run)
        done = run.finish(RUN_SECONDS)
        print(f"{name} at {moment}: the run ended {time.monotonic() - begin:.0f} s after the fault")
    print(done.output)
    bench.again()
    bench.sh("rm -f /run/faults-filler")
    destroyed = moment == "destroy" and fault.at_destroy is not None
    assert done.status == (fault.at_destroy if destroyed else fault.status), done.output
    assert fault.said in done.output, done.output
    assert fault.outcomes in done.output, done.output
    before = [row for row in rows(results) if "test_before" in str(row["test"])]
    assert before, "what was measured before the fault is lost"
    assert before[-1]["verdict"] == "clean"
    if fault.next_run:
        swept = run_pytest(*options, "-k", "before", seconds=RUN_SECONDS)
        assert swept.status == 0, swept.output
        print(swept.output)
    left = bench.sh(STATE)
    assert left == bench.found["at first"], f"left on the machine:\n{left}\n{done.output}"
    bench.faults += 1
