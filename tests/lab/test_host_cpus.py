# SPDX-License-Identifier: MIT
"""An emulated host with more CPUs than two: Xen has them, and so do its guests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.report.results import read_results

from .suite import RUN_SECONDS, run_suite

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.timeout(RUN_SECONDS + 30)]


def test_xen_and_guests_have_the_cpus_that_are_asked_for(tmp_path: Path) -> None:
    results, logs = tmp_path / "results.jsonl", tmp_path / "logs"
    status, output = run_suite(
        "-k", "destroyed_guest_leaves_nothing", "--xen-host-cpus=4",
        f"--xen-results={results}", f"--xen-logs={logs}",
    )  # fmt: skip
    assert status == pytest.ExitCode.OK, output
    assert ", 4 CPUs" in output, output
    xen = "".join(path.read_text(errors="replace") for path in logs.rglob("*") if path.is_file())
    assert "Brought up 4 CPUs" in xen, xen
    (row,) = read_results(results)
    assert (row.setting.cpus, row.vcpus) == (4, 4)
    assert row.verdict == "clean"
