# SPDX-License-Identifier: MIT
"""What a serial log proves of a boot."""

from __future__ import annotations

import pytest

from pytest_xenscrub.deadline import Deadline
from pytest_xenscrub.errors import CommandError, HostLostError, UndecidedError, XenFaultError
from pytest_xenscrub.host.boot_log import Stage, blamed, boots, since, stage

BANNER = "(XEN) Xen version 4.17.5 (Debian) debug=n\n"
DOM0 = "(XEN) *** Serial input to DOM0 (type 'CTRL-a' three times)\n"


@pytest.mark.parametrize(
    ("log", "reached"),
    [
        ("", Stage.SILENT),
        ("(XEN) Hardware Dom0 shutdown: rebooting machine\nBIOS\n", Stage.SILENT),
        (
            "pytest-xenscrub: GRUB cannot load this hypervisor; rebooting\n" + BANNER,
            Stage.NOT_LOADED,
        ),
        (BANNER + "(XEN) more\n", Stage.XEN),
        (BANNER + DOM0, Stage.DOM0),
        (BANNER + DOM0 + "Kernel panic - not syncing\n", Stage.CRASHED),
        ("Panic on CPU 0, of the boot before\n" + BANNER, Stage.XEN),
        (BANNER + BANNER + "Panic on CPU 0, of the boot after\n", Stage.XEN),
    ],
)
def test_a_stage_is_that_of_the_first_boot(log: str, reached: Stage) -> None:
    assert stage(log) is reached


@pytest.mark.parametrize(
    "line",
    ["watchdog: BUG: soft lockup - CPU#1 stuck for 22s!", "(XEN) Watchdog timer detects that CPU1"],
)
def test_a_watchdog_of_a_starved_host_proves_nothing(line: str) -> None:
    """It cannot tell a CPU that hangs from one that this machine does not run; a panic can."""
    log = f"{BANNER}{DOM0}[  222.93] {line}\n"
    assert stage(log) is Stage.CRASHED
    assert stage(log, starved=True) is Stage.DOM0
    assert stage(f"{log}Kernel panic - not syncing\n", starved=True) is Stage.CRASHED
    lost = HostLostError("lost", todo="look")
    assert isinstance(blamed(lost, log), XenFaultError)
    assert isinstance(blamed(lost, log, starved=True), UndecidedError)


def test_boots_are_told_apart() -> None:
    assert boots("GRUB\n" + BANNER + "one\n" + BANNER + "two") == [BANNER + "one\n", BANNER + "two"]


def test_what_is_new_in_a_log_is_found_though_lines_repeat() -> None:
    before = "old\nlogin\nlogin:"
    assert (
        since(before, before + " x\nnew\nold\nlogin\nlogin:") == "login: x\nnew\nold\nlogin\nlogin:"
    )
    assert since("", "new") == "new"
    assert since("one\ntwo\nthree\n", "four\nfive") == "four\nfive"
    assert since("one\ntwo\nthree", "two\nthree\nfour") == "three\nfour"


@pytest.mark.parametrize(
    ("log", "kind"),
    [
        ("", UndecidedError),
        (BANNER + DOM0, UndecidedError),
        (BANNER, XenFaultError),
        (BANNER + DOM0 + "(XEN) Panic on CPU 0", XenFaultError),
    ],
)
def test_silence_is_judged_by_the_log(log: str, kind: type[Exception]) -> None:
    for error in (Deadline.after(1, "booting").error(), HostLostError("lost", todo="look")):
        assert type(blamed(error, log)) is kind


def test_an_answer_keeps_its_error() -> None:
    error = CommandError("returned 1", todo="a hint")
    assert blamed(error, BANNER + "Panic on CPU 0") is error
