# SPDX-License-Identifier: MIT
"""The suite proper on a machine that is reached over ssh alone, and boots through its GRUB."""

from __future__ import annotations

import contextlib

import pytest

from pytest_xenscrub.boot.reboot import running
from pytest_xenscrub.deadline import Deadline

from .runs import lab_machine, over_ssh, run_pytest

RUN_SECONDS = 800

pytestmark = [pytest.mark.slow, pytest.mark.timeout(RUN_SECONDS + 300)]


def test_a_xen_that_crashes_is_told_and_the_own_one_is_back() -> None:
    """It panics in the middle of a destroy, and the machine reboots by itself."""
    with lab_machine() as machine, contextlib.closing(machine.connect()) as host:
        before = running(host, Deadline.after(60, "which Xen runs"))
        done = run_pytest(
            "tests/scrub", "-k", "destroyed_guest_leaves_nothing or conserved", *over_ssh(machine),
            "--xen-variant=defect:asserts_on_free", "--xen-variant=as-is", "--xen-config=DEBUG=y",
            seconds=RUN_SECONDS,
        )  # fmt: skip
        print(done.output)
        assert done.status == pytest.ExitCode.TESTS_FAILED, done.output
        assert "Assertion '!d || !d->is_dying' failed" in done.output, done.output
        assert "2 passed" in done.output, done.output
        after = running(host, Deadline.after(120, "which Xen runs"))
        assert after.build_id == before.build_id
        assert (
            "xenscrub"
            not in host.run(
                ["sh", "-c", "xl list; ls /boot"], deadline=Deadline.after(60, "what is left")
            ).stdout
        )


def test_suite_runs_on_a_lab_machine_with_its_own_xen_and_with_ours() -> None:
    """Both Xens are tested, and afterwards the machine runs its own again."""
    with lab_machine() as machine:
        host = machine.connect()
        before = running(host, Deadline.after(60, "which Xen runs"))
        done = run_pytest(
            "tests/scrub", "-v", "-k", "destroyed_guest_leaves_nothing or conserved",
            *over_ssh(machine), "--xen-variant=as-is", "--xen-variant=sync", seconds=RUN_SECONDS,
        )  # fmt: skip
        assert done.status == 0, done.output
        assert "4 passed" in done.output, done.output
        assert "booting Xen sync once" in done.output, done.output
        after = running(host, Deadline.after(120, "which Xen runs"))
        assert after.build_id == before.build_id
        left = host.run(
            ["sh", "-c", "ls -d /boot/pytest-xenscrub* /run/xenscrub-*-* 2>/dev/null; :"],
            deadline=Deadline.after(60, "what is left"),
        )
        assert left.stdout == ""
        host.close()
