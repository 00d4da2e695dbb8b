# SPDX-License-Identifier: MIT
"""A Xen that has become slow passes every test, and `--xen-fail-if` fails the run."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pytest_xenscrub.hypervisor import variants

from .suite import RUN_SECONDS, run_suite

SLOW = Path(__file__).parent / "variants" / "scrubs_four_times.cocci"
SYNC = Path(next(iter(variants.__path__))) / "sync.cocci"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3 * RUN_SECONDS)]


def test_a_patch_that_has_become_slow_fails_the_run(tmp_path: Path) -> None:
    patch, earlier = tmp_path / "patch.cocci", tmp_path / "earlier.jsonl"
    common = ("-k", "destroyed_guest_leaves", "--xen-repeat=3", "--xen-variant", patch)
    gate = ("--xen-compare", earlier, "--xen-fail-if=destroy:min:40%")

    shutil.copy(SYNC, patch)
    status, output = run_suite(*common, "--xen-results", earlier)
    assert status == pytest.ExitCode.OK, output
    status, output = run_suite(*common, *gate)
    assert status == pytest.ExitCode.OK, output
    assert "compared with an earlier run" in output, output

    shutil.copy(SLOW, patch)
    status, output = run_suite(*common, *gate)
    assert status == pytest.ExitCode.TESTS_FAILED, output
    assert "3 passed" in output, output
    assert "worse: destroyed_guest_leaves_nothing (xl, patch," in output, output
