# SPDX-License-Identifier: MIT
"""Defects of memory that is populated on demand: PVH guests show them, and PV guests cannot."""

from __future__ import annotations

from pathlib import Path

import pytest

from .suite import RUN_SECONDS, run_suite

VARIANTS = Path(__file__).parent / "variants"
PVH = ("-m", "quick", "--xen-guest-type=pvh")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(RUN_SECONDS + 30)]


@pytest.mark.parametrize(
    ("variant", "test", "seen"),
    [
        ("pod_cache_stays_dirty", "gave_back_to_its_cache", "RESIDUE"),
        ("pod_cache_keeps_page", "gave_back_to_its_cache", "TODO"),
        ("pod_crash_leaks", "use_more_than_they_have_cost", "5 guests cost"),
        ("pod_crash_is_fatal", "uses_more_than_it_has", "Xen BUG at"),
    ],
)
def test_defect_is_caught_with_pvh_guests_alone(variant: str, test: str, seen: str) -> None:
    xen = ("--xen-variant", VARIANTS / f"{variant}.cocci")
    status, output = run_suite("-k", test, *PVH, *xen)
    assert status == pytest.ExitCode.TESTS_FAILED, output
    assert seen in output, output
    assert "1 failed" in output, output
    status, output = run_suite("-k", "ballooned_pages or memory_is_conserved or crash", *xen)
    assert status == pytest.ExitCode.OK, output
    assert "failed" not in output, output
