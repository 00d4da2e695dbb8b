# SPDX-License-Identifier: MIT
"""Xens that scrub a part of each page, or of each extent: every test that reads memory sees it."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

import pytest

from .suite import run_suite

if TYPE_CHECKING:
    from pathlib import Path

PARTS = (
    "first-half",
    "last-half",
    "all-but-a-line",
    "all-but-last-word",
    "even-words",
    "odd-words",
    "low-halves",
    "first-page",
    "odd-pages",
    "single-pages",
)
KIND = re.compile(r"^[\w.]+Error: ")
READS_NOTHING = {"test_memory_is_conserved"}
"""Counts pages, and looks into none."""
QUICK_TESTS = 19

WHOLE_SUITE_SECONDS = 3600.0
"""Every probe looks closely at every page, twice: far longer than where pages are clean."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(WHOLE_SUITE_SECONDS + 30)]


@pytest.mark.parametrize("part", PARTS)
def test_scrub_of_a_part_is_residue_in_every_quick_test(part: str, tmp_path: Path) -> None:
    status, output = run_suite(
        "-m", "quick", "--xen-variant=defect:scrubs_part", f"--xen-cmdline=scrub-part={part}",
        f"--junit-xml={tmp_path / 'junit.xml'}",
        seconds=WHOLE_SUITE_SECONDS,
    )  # fmt: skip
    assert status == pytest.ExitCode.TESTS_FAILED, output
    seen = outcomes(tmp_path / "junit.xml")
    assert len(seen) == QUICK_TESTS, output
    reading = {test: said for test, said in seen.items() if test.split("[")[0] not in READS_NOTHING}
    assert {test for test in seen if test not in reading and seen[test] != "passed"} == set()
    wrong = {test: said for test, said in reading.items() if not said.startswith("failure RESIDUE")}
    assert not wrong, f"{wrong}\n{output}"


def outcomes(junit: Path) -> dict[str, str]:
    """Of each test "passed", or what it ended with and what that said first."""
    found = {}
    for case in ET.parse(junit).iter("testcase"):  # noqa: S314 - pytest wrote it
        ends = [end for end in case if end.tag in {"failure", "error", "skipped"}]
        said = [f"{end.tag} {KIND.sub('', end.get('message', ''))}" for end in ends]
        found[case.get("name", "")] = "passed" if not said else ", ".join(said)
    return found
