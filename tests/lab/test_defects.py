# SPDX-License-Identifier: MIT
"""Each defect of the collection is caught by the tests that it names; a table tells."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tabulate import tabulate

from pytest_xenscrub.hypervisor.defect import PREFIX, Catch, Defect, load_defects

from .suite import RUN_SECONDS, run_suite

if TYPE_CHECKING:
    from collections.abc import Iterator

    Score = list[tuple[str, str, str, str]]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(RUN_SECONDS + 30)]

CATCHES = [(defect, catch) for defect in load_defects().values() for catch in defect.caught]


@pytest.fixture(scope="module")
def score(request: pytest.FixtureRequest) -> Iterator[Score]:
    lines: Score = []
    yield lines
    reporter = request.config.pluginmanager.get_plugin("terminalreporter")
    assert reporter is not None
    caught = sum(line[-1] == "caught" for line in lines)
    reporter.ensure_newline()
    reporter.section(f"{caught} of {len(lines)} caught")
    reporter.write_line(tabulate(lines, headers=["defect", "suite", "test", "it was"]))


@pytest.mark.parametrize(
    ("defect", "catch"),
    [pytest.param(*each, id=f"{each[0].name}-{each[1].test.split(' ')[0]}") for each in CATCHES],
)
def test_defect_is_caught(defect: Defect, catch: Catch, score: Score) -> None:
    status, output = run_suite(
        "-k", catch.test, "--xen-variant", PREFIX + defect.name, *catch.options
    )
    caught = status == pytest.ExitCode.TESTS_FAILED and catch.says in output
    caught = caught and "1 failed" in output
    score.append((defect.name, catch.suite, catch.test, "caught" if caught else "MISSED"))
    assert caught, output
    if catch.passes:
        status, output = run_suite(
            "-k", catch.test, "--xen-variant", PREFIX + defect.name, *catch.passes
        )
        assert status == pytest.ExitCode.OK, output
        assert "1 passed" in output, output
