# SPDX-License-Identifier: MIT
"""A boot that hangs is told from one that is slow, on a clock that moves as it is told."""

from __future__ import annotations

import pytest

from pytest_xenscrub.errors import XenHungError
from pytest_xenscrub.host.emulated.boot import BootWatch

HANG = 60.0


class Boot:
    """A machine that boots, and what is seen of it."""

    def __init__(self) -> None:
        self.now = 0.0
        self.starved = 0.0
        self.disk = 0
        self.serial = b""
        self.watch = BootWatch(HANG, lambda: self.starved, lambda: self.disk)

    def go_on(self, seconds: float, *, share: float = 0.0, disk: int = 0) -> None:
        for _ in range(int(seconds)):
            self.now += 1
            self.starved += share
            self.disk += disk
            self.watch.check(self.serial, self.serial.decode)


@pytest.fixture
def boot(monkeypatch: pytest.MonkeyPatch) -> Boot:
    boot = Boot()
    monkeypatch.setattr("pytest_xenscrub.host.emulated.boot.time.monotonic", lambda: boot.now)
    boot.watch = BootWatch(HANG, lambda: boot.starved, lambda: boot.disk)
    return boot


def test_a_xen_that_says_nothing_more_hangs(boot: Boot) -> None:
    boot.serial = b"(XEN) Xen version 4.17\n(XEN) Brought up 2 CPUs\n"
    boot.go_on(HANG)
    with pytest.raises(XenHungError, match="hangs while it boots: nothing on the serial") as caught:
        boot.go_on(2)
    assert "Brought up 2 CPUs" in caught.value.evidence["serial log"]


def test_a_boot_that_says_something_now_and_then_is_only_slow(boot: Boot) -> None:
    for step in range(10):
        boot.serial += b"(XEN) step %d\n" % step
        boot.go_on(HANG - 2)


def test_a_boot_that_reads_its_disk_is_only_slow(boot: Boot) -> None:
    boot.serial = b"(XEN) all is well\n"
    boot.go_on(600, disk=4096)


def test_a_boot_on_a_starved_machine_is_not_a_hang(boot: Boot) -> None:
    """A debug Xen on two CPUs that are kept busy took 160 s, and was called a hang."""
    boot.serial = b"(XEN) Scrubbing Free RAM\n"
    boot.go_on(600, share=0.5)


def test_a_machine_whose_xen_has_said_nothing_yet_is_not_xens(boot: Boot) -> None:
    boot.go_on(600)
    boot.serial = b"SeaBIOS\n"
    boot.go_on(600)


def test_a_boot_knows_whether_it_was_starved(boot: Boot) -> None:
    """Of all its time; the hang watch looks at the silence alone."""
    boot.go_on(100, share=0.1)
    assert not boot.watch.starved
    boot.go_on(100, share=0.5)
    assert boot.watch.starved
