# SPDX-License-Identifier: MIT
"""Hooks for a `conftest.py` or another plugin: hosts, ways to boot, and rows as they are measured.

As with every pytest hook, an implementation may leave out arguments that it does not need.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_xenscrub import ChosenXen, Deployment, HostDescription, Row


@pytest.hookspec(firstresult=True)
def pytest_xenscrub_host(config: pytest.Config, name: str) -> HostDescription | None:
    """Describe a host of `--xen-host` from the lab's own inventory.

    Called at the start of a run, once for each host that was named, in every process of
    pytest-xdist. The first answer that is not None counts. The file of hosts wins over this hook.
    An implementation that reserves a machine can release it in `config.add_cleanup`.

    Args:
        config: pytest's config.
        name: the host as the user wrote it: `[user@]host[:port]`.

    Returns:
        The host's ssh target, power command and tags; None if the inventory does not know it.

    Raises:
        ConfigurationError: the inventory knows the host, but it cannot be used; ends the run.
    """


@pytest.hookspec(firstresult=True)
def pytest_xenscrub_deployment(
    config: pytest.Config, host: HostDescription, xen: ChosenXen, lock: Callable[[], None]
) -> Deployment | None:
    """Boot a Xen on a host in another way than by GRUB's one-shot entry, such as over the network.

    Called once for each Xen of a run, before its first test. The first answer that is not None
    counts. An error that `start` raises is reported by its fault: see `XenScrubError`.

    Args:
        config: pytest's config.
        host: the machine, real or emulated, which this run has locked.
        xen: the Xen to run; its `artefact` is None for the Xen that the host boots by itself.
        lock: takes the machine's lock again; call it after each reboot, once the machine answers.

    Returns:
        An object that starts the Xen and gives the host back; None for the default way.
    """


@pytest.hookspec
def pytest_xenscrub_row(config: pytest.Config, row: Row) -> None:
    """Receive a row that was measured, or that has a further figure.

    Called at once, in the process that runs the test: first when a guest has ended, then again
    with the same row for its verdict and for each further figure. Of several calls with the same
    `row.id` the last counts. `--xen-results` and the charts use this hook.

    Args:
        config: pytest's config.
        row: the row, as far as it is known.
    """
