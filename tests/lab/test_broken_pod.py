# SPDX-License-Identifier: MIT
"""Defects of memory that is populated on demand: PVH guests show them, and PV guests cannot."""

from __future__ import annotations

from pathlib import Path

import pytest

from .suite import RUN_SECONDS, run_suite

VARIANTS = Path(__file__).parent / "variants"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(RUN_SECONDS + 30)]


@pytest.mark.parametrize(
    ("variant", "test", "seen"),
    [
        ("pod_cache_stays_dirty", "gave_back_to_its_cache", "RESIDUE"),
        ("pod_cache_keeps_page", "gave_back_to_its_cache", "the domain stayed in the list"),
        ("pod_crash_leaks", "use_more_than_they_have_cost", "5 guests cost"),
        ("pod_crash_is_fatal", "uses_more_than_it_has", "Xen BUG at"),
    ],
)
def test_defect_is_caught_with_pvh_guests_alone(variant: str, test: str, seen: str) -> None:
    """PV guests have no memory that is populated on demand, and lose none."""
    status, output = run_suite(
        "-m", "quick", "-k", f"{test} or (memory_is_conserved and not pvh)",
        "--xen-guest-type=pvh", "--xen-guest-type=pv",
        "--xen-variant", VARIANTS / f"{variant}.cocci",
    )  # fmt: skip
    assert status == pytest.ExitCode.TESTS_FAILED, output
    assert seen in output, output
    assert "1 failed, 1 passed" in output, output
    (failed,) = [line for line in output.splitlines() if line.startswith("FAILED ")]
    assert test in failed, output
