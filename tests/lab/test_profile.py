# SPDX-License-Identifier: MIT
"""A profile names what makes a destroy slow."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pytest_xenscrub.scrub.profile import IDLE, Part, profile_from

from .suite import RUN_SECONDS, run_suite

VARIANTS = Path(__file__).parent / "variants"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(RUN_SECONDS + 30)]


def busy_shares(part: Part) -> dict[str, float]:
    """Of the CPUs' busy time, by function."""
    busy = {stack: count for stack, count in part.stacks.items() if stack != IDLE}
    return {stack: count / sum(busy.values()) for stack, count in busy.items()}


def scrubbing(shares: dict[str, float]) -> float:
    """What the function that writes zeros has, whichever one this CPU gets."""
    return sum(share for stack, share in shares.items() if "clear_page" in stack)


def test_a_xen_that_scrubs_too_much_is_seen_scrubbing(tmp_path: Path) -> None:
    """It does nothing else as much; on a Xen that does not scrub there is next to none of it.

    What waits for a lock is no work: on a busy machine the threads that are an emulated host's CPUs
    wait for each other, and that may be more than all else.
    """
    results = tmp_path / "results"
    status, output = run_suite(
        "-k", "bytes_leave_ram_soon", "--xen-guest-memory=1500M",
        "--xen-variant", VARIANTS / "scrubs_four_times.cocci", "--xen-variant", "noscrub",
        f"--xen-profile={tmp_path}", f"--xen-results={results}",
    )  # fmt: skip
    assert status == pytest.ExitCode.TESTS_FAILED, output  # as noscrub leaks
    rows = [json.loads(line) for line in results.read_text().splitlines()]
    profiles = {row["variant"]: profile_from(row["profile"]) for row in rows if row.get("profile")}
    assert {profile.symbols for profile in profiles.values()} == {"xen-syms"}, output
    shares = {name: busy_shares(profile.destroy) for name, profile in profiles.items()}
    slow = shares["scrubs_four_times"]
    work = {stack: share for stack, share in slow.items() if "spin_lock" not in stack}
    assert max(work, key=work.__getitem__).startswith("Xen;clear_page"), output
    assert scrubbing(slow) >= 0.1, output
    assert scrubbing(shares["noscrub"]) <= 0.01, output
    assert "noscrub - scrubs_four_times" in output
    assert len(list(tmp_path.glob("*.folded"))) == len(profiles), output
