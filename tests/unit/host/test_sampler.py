# SPDX-License-Identifier: MIT
from __future__ import annotations

import threading
from typing import Any

from pytest_xenscrub.errors import InfrastructureError
from pytest_xenscrub.host.emulated.sampler import CpuSampler
from pytest_xenscrub.host.emulated.standing import Standing
from pytest_xenscrub.host.symbols import Symbols

REGISTERS = "\nCPU#0\nRIP=ffff82d040232456 CPL=0 HLT=0\n\nCPU#1\nRIP=ffff82d040232999 CPL=0 HLT=1\n"


class FakeMachine:
    """Answers as QEMU's monitor does, so many times; then it is gone, or answers no registers."""

    def __init__(self, looks: int, *, without_registers: bool = False) -> None:
        self.commands: list[str] = []
        self.over = threading.Event()
        self._looks = looks
        self._without = without_registers
        self.standing = Standing(self.qmp)

    def qmp(self, command: str, _arguments: dict[str, Any] | None = None, *, seconds: float) -> Any:
        assert seconds <= 5
        self.commands.append(command)
        if command == "stop" and self.commands.count("stop") > self._looks:
            self.over.set()
            raise InfrastructureError("QEMU has ended")
        if command == "human-monitor-command":
            if self._without:
                self.over.set()
                raise InfrastructureError("QEMU refused")
            return REGISTERS
        return {}


def sampler(machine: Any) -> CpuSampler:
    return CpuSampler(machine, Symbols([(1, "a"), (2, "b")], "xen-syms"))


def test_a_machine_is_stopped_for_each_look_and_goes_on_after_it() -> None:
    machine = FakeMachine(3)
    sampling = sampler(machine)
    assert machine.over.wait(5)
    seen = sampling.stop()
    assert not sampling.running
    assert machine.commands[:3] == ["stop", "human-monitor-command", "cont"]
    assert len(seen.samples) == 3
    assert [cpu.halted for cpu in seen.samples[0].cpus] == [False, True]
    assert [sample.at for sample in seen.samples] == sorted(sample.at for sample in seen.samples)
    assert seen.symbols.origin == "xen-syms"
    assert 0 < seen.stopped_seconds < 5


def test_a_look_that_fails_leaves_the_machine_running() -> None:
    machine = FakeMachine(3, without_registers=True)
    sampling = sampler(machine)
    assert machine.over.wait(5)
    assert sampling.stop().samples == ()
    assert machine.commands == ["stop", "human-monitor-command", "cont"]


def test_a_machine_that_is_gone_has_been_seen_until_then() -> None:
    machine = FakeMachine(0)
    sampling = sampler(machine)
    assert machine.over.wait(5)
    assert sampling.stop().samples == ()
