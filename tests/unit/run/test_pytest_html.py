# SPDX-License-Identifier: MIT
"""Our columns and charts in pytest-html's report; it is not missed where it is not installed."""

from __future__ import annotations

import html
import json
import re
from typing import Any

import pytest

from faked_run import (
    CONFTEST,
    HOST,
    MEASURES,
    NOTHING_IS_BUILT,
    run,
)

pytestmark = pytest.mark.usefixtures("faked_host")

TESTS = """
    def test_leaks(measure):
        row = measure(1.25, "residue")
        row.exposure_over = 5.5
        row.exposure_curve = [[0.0, 1.0], [5.5, 1.0]]
        assert False, "RESIDUE"

    def test_clean(measure): measure(2.5)
    def test_plain(): pass
"""


def report(project: pytest.Pytester, *arguments: str) -> tuple[str, dict[str, Any]]:
    """The report's text, and by test the data of its table."""
    pytest.importorskip("pytest_html")
    project.makeconftest(CONFTEST + NOTHING_IS_BUILT)
    project.makepyfile(test_it=TESTS)
    result = project.runpytest_subprocess(
        HOST, "--html=report.html", "-W", "ignore::DeprecationWarning", *arguments
    )
    result.assert_outcomes(passed=2, failed=1)
    text = (project.path / "report.html").read_text()
    blob = re.search(r'data-jsonblob="([^"]*)"', text)
    assert blob
    tests = json.loads(html.unescape(blob[1]))["tests"]
    return text, {name.rpartition("::")[2]: known[0] for name, known in tests.items()}


@pytest.mark.parametrize("workers", [(), ("-n2",)])
def test_columns_and_charts(project: pytest.Pytester, workers: tuple[str, ...]) -> None:
    text, tests = report(project, "--self-contained-html", *workers)
    heads = re.findall(r"<th[^>]*>([^<]*)</th>", text)
    assert heads[:5] == ["Result", "Test", "Verdict", "destroy, s", "exposure, s"]
    lines = {
        name: [re.sub("<.*?>", "", cell) for cell in known["resultsTableRow"]][2:5]
        for name, known in tests.items()
    }
    assert lines == {
        "test_leaks": ["RESIDUE", "1.25", "&gt; 5.50"],
        "test_clean": ["clean", "2.50", ""],
        "test_plain": ["", "", ""],
    }
    assert "judged 2 of 2 scenarios" in text
    (chart,) = tests["test_leaks"]["extras"]
    assert chart["content"].startswith("data:image/svg+xml;base64,")
    assert tests["test_clean"]["extras"] == []


def test_a_run_without_a_xen_has_none(pytester: pytest.Pytester) -> None:
    pytest.importorskip("pytest_html")
    pytester.makepyfile("def test_it(): pass")
    pytester.runpytest_subprocess("--html=report.html", "--self-contained-html")
    assert "Verdict" not in (pytester.path / "report.html").read_text()


def test_without_pytest_html_nothing_is_missed(project: pytest.Pytester) -> None:
    result = run(project, MEASURES, "-p", "no:html", "-p", "no:pytest_html")
    result.assert_outcomes(passed=1)
