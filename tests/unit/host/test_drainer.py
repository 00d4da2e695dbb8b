# SPDX-License-Identifier: MIT
"""When pages are given back, who stands still meanwhile, and what ends a machine: without QEMU."""

from __future__ import annotations

import os
import random
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from pytest_xenscrub.errors import InfrastructureError
from pytest_xenscrub.host import holes
from pytest_xenscrub.host.emulated.drain import Drain
from pytest_xenscrub.host.emulated.drainer import Drainer
from pytest_xenscrub.host.emulated.standing import Standing
from pytest_xenscrub.units import MIB, PAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SIZE = 256 * MIB
LIMIT = 64 * MIB


class FakeMachine:
    """RAM with a CPU that writes to it, unless the machine stands still."""

    def __init__(self) -> None:
        self.fd = os.memfd_create("ram")
        os.ftruncate(self.fd, SIZE)
        self.runs = threading.Event()
        self.runs.set()
        self.still = threading.Lock()
        self.gone = False
        self.commands: list[str] = []
        self.standing = Standing(self.qmp)
        self.ended: list[InfrastructureError] = []
        self.drainer = Drainer(Drain(self.fd, SIZE), LIMIT, self.standing, self.ended.append)

    def qmp(self, command: str, *, seconds: float) -> Any:
        assert seconds > 0
        if self.gone:
            raise InfrastructureError("QEMU has ended")
        self.commands.append(command)
        if command == "stop":
            self.runs.clear()
            self.still.acquire()
        else:
            self.still.release()
            self.runs.set()

    def write(self, at: int, data: bytes) -> None:
        while True:
            self.runs.wait()
            with self.still:
                if self.runs.is_set():
                    os.pwrite(self.fd, data, at)
                    return

    def fill(self, size: int, data: Callable[[], bytes], *, pause_seconds: float = 0.001) -> None:
        """Write MiB after MiB, as fast as the drain lets it, or until the machine is ended."""
        for at in range(0, size, MIB):
            if self.ended:
                return
            self.write(at, data())
            time.sleep(pause_seconds)


@pytest.fixture
def machine() -> Iterator[FakeMachine]:
    made = FakeMachine()
    yield made
    made.drainer.close()
    made.drainer.close()
    os.close(made.fd)


def until(true: Callable[[], object]) -> None:
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_machine_that_is_scrubbed_may_be_larger_than_its_limit(machine: FakeMachine) -> None:
    machine.fill(SIZE, lambda: bytes(MIB))
    machine.drainer.close()
    assert not machine.ended
    assert machine.drainer.most_bytes < LIMIT
    assert holes.used_bytes(machine.fd) < LIMIT
    assert machine.commands == ["stop", "cont"] * (len(machine.commands) // 2)
    assert len(machine.commands) >= 2 * (SIZE - LIMIT) // (LIMIT // 2)
    assert machine.standing.stood_seconds() > 0


def test_one_that_is_left_alone_never_stands_still(machine: FakeMachine) -> None:
    machine.write(0, os.urandom(MIB))
    time.sleep(0.3)
    assert machine.commands == []
    assert machine.standing.stood_seconds() == 0


def test_one_that_needs_more_is_ended_below_its_limit_and_told_why(machine: FakeMachine) -> None:
    # Between two looks it writes less than the margin, as real CPUs do below limits of GiB.
    machine.fill(SIZE, lambda: os.urandom(MIB), pause_seconds=0.02)
    until(lambda: machine.ended)
    told = str(machine.ended[0])
    assert "--xen-host-ram-limit" in told
    assert "64 MiB" in told
    assert "Xen's tables, dom0, and what else guests have" in told
    assert holes.used_bytes(machine.fd) <= LIMIT


def test_no_byte_is_lost_however_fast_the_machine_writes(machine: FakeMachine) -> None:
    """Pages of zeros become data, and data zeros, while others are given back."""
    chance = random.Random(3)  # noqa: S311 - the same each time
    want: dict[int, bytes] = {}
    for _ in range(3):
        for first in range(0, SIZE // PAGE, 256):
            machine.write(first * PAGE, bytes(MIB))
            want.update(dict.fromkeys(range(first, first + 256), b""))
            page = first + chance.randrange(256)
            data = chance.randbytes(16)
            machine.write(page * PAGE + 512, data)
            want[page] = data
    machine.drainer.close()
    assert len(machine.commands) > 10
    for page, data in want.items():
        assert os.pread(machine.fd, PAGE, page * PAGE).strip(b"\0") == data.strip(b"\0")


def test_a_machine_that_is_gone_ends_it(machine: FakeMachine) -> None:
    machine.gone = True
    machine.fill(LIMIT // 2, lambda: bytes(MIB))
    until(lambda: not machine.drainer._thread.is_alive())
    assert not machine.ended


def test_ram_that_cannot_be_kept_small_ends_the_machine(
    machine: FakeMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_drain: Drain, **_: object) -> int:
        raise OSError(95, "a hole cannot be made: Operation not supported")

    monkeypatch.setattr(Drain, "give_back", refuse)
    machine.fill(LIMIT // 2, lambda: bytes(MIB))
    until(lambda: machine.ended)
    assert "Operation not supported" in str(machine.ended[0])


def test_two_never_stop_a_machine_at_once(machine: FakeMachine) -> None:
    inside: list[int] = []

    def stand() -> None:
        for _ in range(50):
            with machine.standing.still():
                inside.append(1)
                assert len(inside) == 1
                inside.pop()

    threads = [threading.Thread(target=stand) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert machine.commands == ["stop", "cont"] * 200


def test_time_stands_while_it_stands_and_not_longer(machine: FakeMachine) -> None:
    with machine.standing.still():
        time.sleep(0.05)
        first = machine.standing.stood_seconds()
        assert 0.05 <= first < 1
        time.sleep(0.05)
        assert machine.standing.stood_seconds() >= first + 0.05
    after = machine.standing.stood_seconds()
    time.sleep(0.05)
    assert machine.standing.stood_seconds() == after


def test_it_goes_on_after_an_error(machine: FakeMachine) -> None:
    with pytest.raises(OSError, match="no hole"), machine.standing.still():
        raise OSError("no hole")
    assert machine.commands == ["stop", "cont"]
