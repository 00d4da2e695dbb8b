# SPDX-License-Identifier: MIT
"""Victims that fill a sample of their pages: what is not scrubbed is seen all the same."""

from __future__ import annotations

import re

import pytest

from .suite import RUN_SECONDS, run_suite

SAMPLE = ("-k", "destroyed_guest_leaves_nothing", "--xen-fill=1/16")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(RUN_SECONDS + 30)]


def test_a_sample_sees_a_xen_that_does_not_scrub_and_calls_stock_clean() -> None:
    status, output = run_suite(*SAMPLE, "--xen-control", "--xen-variant=stock")
    assert status == pytest.ExitCode.OK, output
    assert "1 passed" in output, output
    assert "1 xfailed" in output, output
    assert re.search(r"judged 1 of 1 .*; a sample of 6\.\d+% was filled", output), output


@pytest.mark.parametrize("part", ["first-page", "odd-pages", "single-pages", "last-half"])
def test_a_sample_sees_a_scrub_of_a_part(part: str) -> None:
    """Of each extent one page alone, or every other one; no extents at all; half of each page."""
    broken = ("--xen-variant=defect:scrubs_part", f"--xen-cmdline=scrub-part={part}")
    status, output = run_suite(*SAMPLE, *broken)
    assert status == pytest.ExitCode.TESTS_FAILED, output
    assert "RESIDUE: " in output, output
