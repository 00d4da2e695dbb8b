# SPDX-License-Identifier: MIT
"""In this checkout `pytest` means the unit tests, and with a host the suite."""

from __future__ import annotations

import pytest

from pytest_xenscrub.run.stash import SESSION


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """`pytest --xen-host=HOST` means the suite, and not the unit tests of `testpaths`."""
    run = config.stash.get(SESSION, None)
    if run is not None and run.hosts.pool and config.args_source is config.ArgsSource.TESTPATHS:
        config.args = ["tests/scrub"]
