# SPDX-License-Identifier: MIT
"""What is seen from outside is no mere repetition of what guests say."""

from __future__ import annotations

import pytest

from pytest_xenscrub.blame import INFRASTRUCTURE_STATUS

from .suite import RUN_SECONDS, run_suite

pytestmark = [pytest.mark.slow, pytest.mark.timeout(RUN_SECONDS + 30)]


@pytest.mark.parametrize("variant", ["as-is", "noscrub"])
def test_probe_that_skips_pages_is_caught_and_the_session_goes_on(variant: str) -> None:
    """On a Xen that scrubs it is caught over what a live guest gave back dirty."""
    status, output = run_suite(
        "-p", "tests.lab.blind_probe", f"--xen-variant={variant}",
        "-k", "ballooned_pages_are_found or conserved or destroyed_guest_leaves",
    )  # fmt: skip
    assert status in (pytest.ExitCode.TESTS_FAILED, INFRASTRUCTURE_STATUS), output
    assert "called frames clean which hold data, seen from outside" in output, output
    assert "this is an error of ours" in output, output
    assert "error" in output, output


def test_copy_in_dom0_is_found_and_told_whose_it_is() -> None:
    status, output = run_suite("-p", "tests.lab.copying_dom0", "-k", "bytes_leave_ram_soon")
    assert status == pytest.ExitCode.TESTS_FAILED, output
    assert "RESIDUE of xenscrub-" in output, output
    assert "words, dom0, domain 0" in output, output
    assert "1 failed" in output, output
