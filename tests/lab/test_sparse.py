# SPDX-License-Identifier: MIT
"""Hosts and guests that are larger than what they may take of this machine, with a real Xen."""

from __future__ import annotations

import re

import pytest

from pytest_xenscrub.run.blame import INFRASTRUCTURE_STATUS
from pytest_xenscrub.units import GIB, parse_size

from .runs import run_pytest

RUN_SECONDS = 900
pytestmark = [pytest.mark.slow, pytest.mark.timeout(2 * RUN_SECONDS + 30)]
LIMIT = 4 * GIB


def run(tests: str, *arguments: str) -> tuple[int, str]:
    done = run_pytest(
        tests, "-s", "--xen-host=emulated", f"--xen-host-ram-limit={LIMIT}", *arguments,
        seconds=RUN_SECONDS,
    )  # fmt: skip
    return done.status, done.output


def test_guest_four_times_as_large_as_the_limit_comes_and_goes() -> None:
    status, output = run("tests/lab/large_guest.py", "--xen-host-memory=64G")
    assert "1 passed" in output, output
    assert status == pytest.ExitCode.OK, output
    assert "emulated: 64.00 GiB of RAM, of which at most 4.00 GiB" in output, output
    assert "stands still for moments" in output, output
    most = re.search(r"in use: at most (\S+ \S+),", output)
    assert most is not None, output
    assert GIB < parse_size(most[1]) < LIMIT, output
    stood = re.search(r"stood ([0-9.]+) s of it", output)
    assert stood is not None, output
    assert float(stood[1]) > 0, output


def test_scrubbed_guest_is_judged_clean_on_sparse_ram() -> None:
    status, output = run(
        "tests/scrub", "-k", "destroyed_guest_leaves_nothing", "--xen-host-memory=12G",
        "--xen-guest-memory=1G",
    )  # fmt: skip
    assert status == pytest.ExitCode.OK, output
    assert "clean" in output, output
    assert "sparse RAM" in output, output


def test_leak_is_seen_on_sparse_ram() -> None:
    status, output = run(
        "tests/scrub", "-k", "destroyed_guest_leaves_nothing", "--xen-host-memory=12G",
        "--xen-guest-memory=1G", "--xen-variant=noscrub",
    )  # fmt: skip
    assert status == pytest.ExitCode.TESTS_FAILED, output
    assert "RESIDUE" in output, output


def test_guest_that_fills_more_than_the_limit_ends_its_host_and_is_no_fault_of_xens() -> None:
    status, output = run(
        "tests/scrub", "-k", "destroyed_guest_leaves_nothing", "--xen-host-memory=12G",
        "--xen-guest-memory=6G",
    )  # fmt: skip
    assert status == INFRASTRUCTURE_STATUS, output
    assert "needs more of this machine's memory than --xen-host-ram-limit allows" in output, output
    assert "the pattern with which guests fill their memory" in output, output
    assert "1 error" in output, output
