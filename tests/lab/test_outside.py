# SPDX-License-Identifier: MIT
"""What is seen from outside is no mere repetition of what guests say."""

from __future__ import annotations

import pytest

from pytest_xenscrub.run.blame import INFRASTRUCTURE_STATUS

from .suite import RUN_SECONDS, run_suite

pytestmark = [pytest.mark.slow, pytest.mark.timeout(RUN_SECONDS + 30)]


BLIND = ("-p", "tests.lab.blind_probe")


def test_probe_that_skips_pages_is_caught_on_a_xen_that_scrubs() -> None:
    """Over what a live guest gave back dirty, which is no residue: so it is an error of ours."""
    status, output = run_suite(*BLIND, "-k", "ballooned_pages_are_found")
    assert status == INFRASTRUCTURE_STATUS, output
    assert "called frames clean which hold data, seen from outside" in output, output
    assert "a bug of pytest-xenscrub" in output, output
    assert "1 error" in output, output


def test_probe_that_skips_pages_hides_no_leak() -> None:
    """What RAM shows is the verdict, and that the probe has missed it is told beside it."""
    status, output = run_suite(
        *BLIND, "--xen-variant=noscrub", "-k", "destroyed_guest_leaves or that_ends_leaves"
    )
    assert status == pytest.ExitCode.TESTS_FAILED, output
    assert "RESIDUE" in output, output
    assert "called frames clean which hold a dead guest's pattern, seen from outside" in output
    assert "3 failed" in output, output


def test_copy_in_dom0_is_found_and_told_whose_it_is() -> None:
    status, output = run_suite("-p", "tests.lab.copying_dom0", "-k", "bytes_leave_ram_soon")
    assert status == pytest.ExitCode.TESTS_FAILED, output
    assert "RESIDUE of xenscrub-" in output, output
    assert "words, dom0, domain 0" in output, output
    assert "1 failed" in output, output
