# SPDX-License-Identifier: MIT
"""In this checkout `pytest` means the unit tests, and with a host the suite.

Where CI is set, a test of the project's own that is left out for want of a tool is an error.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.run.stash import SESSION

if TYPE_CHECKING:
    from collections.abc import Generator

OWN = frozenset(Path(__file__).parent / "tests" / folder for folder in ("unit", "lab"))
OPTIONAL = ("no tree of another release", "Debian's tree is not in the cache", "no Python 3.6")
"""Begins the reasons of tests that need what no machine has by itself: trees of Xen's source, an
old Python."""


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """`pytest --xen-host=HOST` means the suite, and not the unit tests of `testpaths`."""
    run = config.stash.get(SESSION, None)
    if run is not None and run.hosts.pool and config.args_source is config.ArgsSource.TESTPATHS:
        config.args = ["tests/scrub"]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A developer may lack a compiler; CI that lacks one tests nothing, and is green."""
    report = yield
    asked = os.environ.get("CI") and not OWN.isdisjoint(item.path.parents)
    if asked and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[-1] if isinstance(report.longrepr, tuple) else ""
        reason = str(reason).removeprefix("Skipped: ")
        if not reason.startswith(OPTIONAL):
            report.outcome = "failed"
            report.longrepr = f"left out, and CI is set: {reason}"
    return report
