# SPDX-License-Identifier: MIT
"""Many runs at once on a lab of many machines, which die at random; runs are killed, too.

`FLEET=200x50 FLEET_SECONDS=300 pytest tests/lab/test_fleet.py` has 200 machines, 50 runs at any
time, and begins no run after 300 s. `FLEET_SEED` is the seed of what dies when.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from fakehost.fleet import Fleet, Member
from pytest_xenscrub.dom0.lock import PATH
from pytest_xenscrub.run.blame import INFRASTRUCTURE_STATUS

from .runs import Run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Each run of pytest starts for two seconds of a CPU, and looks at each machine that others have.
MACHINES, RUNS = map(int, os.environ.get("FLEET", "20x6").split("x"))
SECONDS = float(os.environ.get("FLEET_SECONDS", "15"))
SEED = int(os.environ.get("FLEET_SEED", "1"))
END_SECONDS = max(300.0, 50 * RUNS)
"""Limit for the runs that are under way to end, once nothing dies any more."""
DEATH_SECONDS = max(1.0, 12 / RUNS)
"""From one death of a machine to the next, on average; to boot one takes 0.3 s of a CPU."""
STEP_SECONDS = 0.2
USED_SHARE = 0.8
"""Share of the deaths that are of a machine that a run has."""
KILLED_SHARE = 0.15
"""Runs that are killed, for each machine that dies."""
TESTS = 4

pytestmark = [pytest.mark.slow, pytest.mark.timeout(SECONDS + 2 * END_SECONDS + 8 * MACHINES)]

TEST = f"""
import json, os, resource, time
import pytest

def cpu():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime

@pytest.mark.parametrize("number", range({TESTS}))
def test_has_a_machine_alone(xen_host, dom0, number):
    from pytest_xenscrub.deadline import Deadline

    what = f"{{os.getpid()}} {{number}}"
    script = f"echo begin {{what}} >> hands; sleep 0.5; echo end {{what}} >> hands"
    xen_host.run(["sh", "-c", "cd /var/lib; " + script], deadline=Deadline.after(60, "working"))
    assert dom0.free_bytes()

def test_only_listens(xen_host, dom0):
    before, begun = cpu(), time.monotonic()
    time.sleep(2)
    seconds = time.monotonic() - begun
    with open(os.environ["FLEET"] + "/cpu", "a") as file:
        file.write(json.dumps([cpu() - before, seconds, cpu()]) + "\\n")
"""


@dataclass
class Started:
    """A run that was started.

    Attributes:
        run: its process.
        results: its file of results.
        killed: whether it was killed.
        output: what it printed, once it has ended.
        status: its exit status, then.
    """

    run: Run
    results: Path
    killed: bool = False
    output: str = ""
    status: int = 0

    def tests(self) -> dict[str, str]:
        """How each test ended, from the file of results."""
        lines = self.results.read_text().splitlines() if self.results.exists() else []
        told = [json.loads(line) for line in lines]
        ended = [line["tested"] for line in told if "tested" in line]
        return {each["test"].partition("::")[2]: each["outcome"] for each in ended}


@dataclass
class Lab:
    """A fleet with the runs that use it.

    Attributes:
        fleet: the machines.
        folder: for their files.
        chance: chooses what dies, and when.
        runs: all runs, those that have ended, too.
        deaths: how many machines have died.
    """

    fleet: Fleet
    folder: Path
    chance: random.Random = field(default_factory=lambda: random.Random(SEED))  # noqa: S311
    runs: list[Started] = field(default_factory=list)
    deaths: int = 0
    _down: dict[str, float] = field(default_factory=dict)

    def start(self) -> None:
        """One more run."""
        results = self.folder / f"results-{len(self.runs)}.jsonl"
        output = self.folder / f"output-{len(self.runs)}"
        run = Run(
            self.folder / "test_fleet_use.py", "-rA", f"--xen-results={results}",
            f"--xen-hosts-file={self.fleet.hosts_file}", "--xen-lock-wait=120",
            output=output,
        )  # fmt: skip
        self.runs.append(Started(run, results))

    @property
    def alive(self) -> list[Started]:
        """The runs that go on."""
        return [each for each in self.runs if each.run.process.poll() is None]

    def step(self) -> None:
        """Boot what was down for a while; now and then a machine dies, or a run is killed."""
        now = time.monotonic()
        for machine in self.fleet.machines:
            if self._down.get(machine.name, now + 1) <= now:
                del self._down[machine.name]
                self.boot([machine])
        rate = STEP_SECONDS / DEATH_SECONDS
        if self.chance.random() < rate:
            up = [each for each in self.fleet.machines if each.runs]
            used = [each for each in up if each.locked]
            if chosen := used if self.chance.random() < USED_SHARE else up:
                machine = self.chance.choice(chosen)
                self.die(machine)
                self._down[machine.name] = now + self.chance.uniform(0.5, 4)
        if self.chance.random() < rate * KILLED_SHARE and (alive := self.alive):
            each = self.chance.choice(alive)
            each.killed = True
            each.run.process.send_signal(signal.SIGKILL)

    def die(self, machine: Member) -> None:
        """A machine dies, with a line in its list of who has used it."""
        machine.die()
        self.deaths += 1
        with (machine.disk / "hands").open("a") as file:
            file.write("dies\n")

    def boot(self, machines: list[Member]) -> None:
        self.fleet.boot(machines)


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    with closing(Fleet(tmp_path / "fleet", MACHINES)) as fleet:
        for name, value in fleet.environment.items():
            monkeypatch.setenv(name, value)
        (tmp_path / "test_fleet_use.py").write_text(TEST)
        lab = Lab(fleet, tmp_path)
        yield lab
        for each in lab.alive:
            each.run.process.kill()
            each.run.process.wait()


def use(lab: Lab) -> None:
    """Keep runs going for a while, then let them end."""
    begun, latest = 0.0, time.monotonic() + END_SECONDS
    while not begun or time.monotonic() < begun + SECONDS:
        while len(lab.alive) < RUNS:
            lab.start()
        if begun:
            lab.step()
        elif any((machine.disk / "hands").exists() for machine in lab.fleet.machines):
            begun = time.monotonic()  # until then runs only start, each for seconds
        else:
            assert time.monotonic() < latest, lab.runs[0].run.said()
        time.sleep(STEP_SECONDS)
    lab.boot(lab.fleet.machines)
    end = time.monotonic() + END_SECONDS
    for each in lab.runs:
        try:
            each.status = each.run.process.wait(max(1.0, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            pytest.fail(f"a run does not end:\n{each.run.said()[-4000:]}")
        each.output = each.run.said()


def in_two_hands(machine: Member, killed: set[str]) -> list[str]:
    """Where two runs had a machine at the same time; what a killed run has begun may go on."""
    hands = machine.disk / "hands"
    holder, wrong = "", []
    for line in hands.read_text().splitlines() if hands.exists() else []:
        word, who = (*line.split(), "", "")[:2]
        if word == "dies":
            holder = ""
        elif who not in killed:
            if holder not in ("", who):
                wrong.append(f"{machine.name}: {line}, while {holder} has it")
            holder = who if word == "begin" else ""
    return wrong


def test_no_machine_is_in_two_hands_and_no_result_is_lost(lab: Lab) -> None:
    use(lab)
    time.sleep(2)  # a killed run's locker sees the end of its connection
    killed = {str(each.run.process.pid) for each in lab.runs if each.killed}
    assert [why for machine in lab.fleet.machines for why in in_two_hands(machine, killed)] == []
    assert [machine.name for machine in lab.fleet.machines if machine.locked] == []
    left = {machine.name: machine.processes() for machine in lab.fleet.machines}
    assert {name: found for name, found in left.items() if found} == {}
    done = done_on(lab)
    outcomes: Counter[str] = Counter()
    for each in lab.runs:
        tests = each.tests()
        outcomes.update(tests.values())
        has_all(each, tests, done)
    assert outcomes["passed"] > len(lab.runs), outcomes
    assert lab.deaths, "nothing died"
    tell(lab, outcomes)


def done_on(lab: Lab) -> set[tuple[str, str]]:
    """What the machines know of the work that was done: process and test."""
    texts = [
        (machine.disk / "hands").read_text()
        for machine in lab.fleet.machines
        if (machine.disk / "hands").exists()
    ]
    return {
        match for text in texts for match in re.findall(r"^end (\d+) (\d+)$", text, re.MULTILINE)
    }


def has_all(each: Started, tests: dict[str, str], done: set[tuple[str, str]]) -> None:
    """See that no result of a run is lost, none is made up, and no Xen is blamed."""
    pid = str(each.run.process.pid)
    passed = {name for name, outcome in tests.items() if outcome == "passed"}
    assert "failed" not in tests.values(), each.output[-6000:]
    for number in range(TESTS):
        name = f"test_has_a_machine_alone[{number}]"
        if name in passed:
            assert (pid, str(number)) in done, f"{name} of {pid} passed, and did nothing"
    if each.killed:
        return
    # Nothing is measured here, so a run in which nothing dies ends like this, too.
    assert each.status == INFRASTRUCTURE_STATUS, each.output[-6000:]
    assert len(tests) == TESTS + 1, each.output[-6000:]
    shown = re.findall(r"^(PASSED|ERROR) \S+::(\S+)", each.output, re.MULTILINE)
    assert {name for word, name in shown if word == "PASSED"} >= passed
    assert {name for _, name in shown} == tests.keys()


def tell(lab: Lab, outcomes: Counter[str]) -> None:
    """Print figures for docs/machines.md."""
    lines = (lab.fleet.folder / "cpu").read_text().splitlines()
    used: list[tuple[float, float, float]] = [json.loads(line) for line in lines]
    hour = 3600 * sum(cpu for cpu, _, _ in used) / sum(seconds for _, seconds, _ in used)
    whole = sum(cpu for _, _, cpu in used) / len(used)
    ended: Counter[Any] = Counter("killed" if each.killed else each.status for each in lab.runs)
    print(
        f"{MACHINES} machines, {RUNS} runs at once, {len(lab.runs)} runs ({dict(ended)}),"
        f" {lab.deaths} deaths of machines; tests: {dict(outcomes)};"
        f" {len(list(lab.fleet.folder.glob('machines/*/disk/' + PATH.rpartition('/')[2])))} lock"
        f" files of dead runs; pytest's CPU: {hour:.0f} s for a machine and hour of listening,"
        f" {whole:.1f} s for a run"
    )
