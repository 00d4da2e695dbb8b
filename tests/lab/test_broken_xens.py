# SPDX-License-Identifier: MIT
"""Broken hypervisors are called what they are, and the next one gets a host that works."""

from __future__ import annotations

from pathlib import Path

import pytest

from .suite import RUN_SECONDS, run_suite

VARIANTS = Path(__file__).parent / "variants"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(RUN_SECONDS + 30)]


def test_tasklet_that_never_returns_is_a_host_that_stopped_responding() -> None:
    """The defect of the first patch: every CPU is lost; the next Xen must not suffer for it."""
    status, output = run_suite(
        "-k", "destroyed_guest_leaves_nothing",
        "--xen-variant", "defect:endless_tasklet", "--xen-variant", "stock",
    )  # fmt: skip
    assert status == pytest.ExitCode.TESTS_FAILED, output
    assert "dom0 stopped responding" in output, output
    assert "CPU0: in Xen" in output, output
    assert "(endless_scrub)" in output, output
    assert "1 failed, 1 passed" in output, output


def test_xen_that_does_not_boot_is_its_own_failure() -> None:
    status, output = run_suite(
        "-k", "destroyed_guest_leaves_nothing or conserved",
        "--xen-variant", VARIANTS / "no_boot.cocci", "--xen-variant", "stock",
    )  # fmt: skip
    assert status == pytest.ExitCode.TESTS_FAILED, output
    assert "Xen no_boot does not come up" in output, output
    assert "planted: this Xen does not boot" in output, output
    assert "host unusable with Xen no_boot" in output, output
    assert "1 failed, 2 passed" in output, output
    assert "1 error" in output, output


def test_xen_that_does_not_compile_ends_the_run_before_any_host_is_touched() -> None:
    status, output = run_suite(
        "-m", "quick",
        "--xen-variant", "stock", "--xen-variant", VARIANTS / "does_not_compile.cocci",
    )  # fmt: skip
    assert status == pytest.ExitCode.USAGE_ERROR, output
    assert "this_is_not_declared" in output, output
    assert "build.log" in output, output
    assert "emulated: " not in output.split("collected")[-1], output


@pytest.mark.parametrize(
    ("test", "options"),
    [
        ("backlog_drains_without_the_cpu", ()),
        ("cpu_comes_and_goes", ()),
        ("pages_come_and_go", ()),
        ("backlog_of_each_node", ("--xen-host-nodes=2",)),
        ("saved_guest", ()),
        ("migrated_guest", ()),
        ("suspend_was_cancelled", ()),
    ],
)  # fmt: skip
def test_residue_is_seen_while_the_state_of_xen_changes(
    test: str, options: tuple[str, ...]
) -> None:
    status, output = run_suite("-k", test, "--xen-variant=noscrub", *options)
    assert status == pytest.ExitCode.TESTS_FAILED, output
    assert "RESIDUE" in output, output


def test_backlog_of_a_node_without_cpus_drains() -> None:
    status, output = run_suite("-k", "backlog_of_each_node", "--xen-host-nodes=2")
    assert status == pytest.ExitCode.OK, output
    assert "1 passed" in output, output
