# SPDX-License-Identifier: MIT
"""Hooks for a `conftest.py` or another plugin: hosts, ways to boot, and what was measured.

As with every hook of pytest's, an implementation may leave out arguments that it does not need.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_xenscrub import ChosenXen, Deployment, HostDescription, Row


@pytest.hookspec(firstresult=True)
def pytest_xenscrub_host(config: pytest.Config, name: str) -> HostDescription | None:
    """Describe a host of `--xen-host`, as the lab's own inventory knows it.

    Called at the start of a run, once for each host that was named, in every process of
    pytest-xdist's. The first answer counts; a host that the file of hosts describes is taken
    from there all the same. What is reserved here can be given back by `config.add_cleanup`.

    Args:
        config: pytest's.
        name: as the user wrote it: `[user@]host[:port]`.

    Returns:
        Where ssh goes, how to switch its power, its tags; None for a host that is not known.

    Raises:
        ConfigurationError: it is known, and cannot be used; ends the run.
    """


@pytest.hookspec(firstresult=True)
def pytest_xenscrub_deployment(
    config: pytest.Config, host: HostDescription, xen: ChosenXen, lock: Callable[[], None]
) -> Deployment | None:
    """Make a Xen run on a host another way than by GRUB's one-shot entry, say over the network.

    Called once for each Xen of a run, when its first test is about to start. The first answer
    counts. What it raises in `start` is told as whose fault it is: see `XenScrubError`.

    Args:
        config: pytest's.
        host: the machine, which this run has locked; emulated ones, too.
        xen: what is to run; its `artefact` is None for whatever the host boots by itself.
        lock: gets the machine's lock again; to be called whenever it was rebooted and answers.

    Returns:
        What starts the Xen and gives the host back; None to have it done as always.
    """


@pytest.hookspec
def pytest_xenscrub_row(config: pytest.Config, row: Row) -> None:
    """A row was measured, or has more in it.

    Called in the process that runs the test, at once: first when a guest has ended, and again
    with the same row, for its verdict and each further figure. `row.id` tells which it is; of
    several calls with one id the last counts. `--xen-results` and the charts follow this hook.

    Args:
        config: pytest's.
        row: as far as it is known.
    """
