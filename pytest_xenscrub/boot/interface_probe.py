# SPDX-License-Identifier: MIT
"""Finds which domctl and sysctl interface dom0's tools use.

Asks the tools and not the Xen that runs, because that may be a build left by an earlier run.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pytest_xenscrub.dom0.program import run_program
from pytest_xenscrub.errors import InfrastructureError
from pytest_xenscrub.hypervisor.interface import Interfaces

if TYPE_CHECKING:
    from pytest_xenscrub.deadline import Deadline
    from pytest_xenscrub.host.protocol import Host


def ask_tools(host: Host, *, deadline: Deadline) -> Interfaces:
    """The interface versions of the tools that are installed in dom0, whichever Xen runs.

    Raises:
        InfrastructureError: the tools could not be asked; the evidence is dom0's answer.
        DeadlineExceededError: it took too long.
    """
    result = run_program(host, "interface_probe", deadline=deadline)
    try:
        found = json.loads(result.stdout)
        return Interfaces(domctl=found["domctl"], sysctl=found["sysctl"])
    except (ValueError, KeyError, TypeError):
        raise InfrastructureError(
            f"{host.name}: its tools did not show which interface versions they speak",
            tried="python3 with Xen's bindings (xen.lowlevel.xc) in dom0, traced",
            todo="Debian has the bindings in xen-utils, Fedora in xen-runtime; the user must be"
            " root, and Xen must run",
            evidence={"stdout": result.stdout[-500:], "stderr": result.stderr[-1000:]},
        ) from None
