# SPDX-License-Identifier: MIT
"""The lab machine's BMC: `python -m pytest_xenscrub.testing.bmc SOCKET ACTION`.

A power command like any other, for `--xen-power`. A machine without power is one that has been
reset and whose CPUs are stopped.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from pytest_xenscrub.deadline import Deadline
from pytest_xenscrub.errors import InfrastructureError
from pytest_xenscrub.host.emulated.qmp import Qmp
from pytest_xenscrub.host.power import Action

if TYPE_CHECKING:
    from collections.abc import Sequence

ANSWER_SECONDS = 20.0
SOCKET = "bmc"
"""The BMC's QEMU monitor in a machine's folder; each monitor serves one client."""


def command(folder: Path) -> list[str]:
    """The words of the power command of the machine in that folder."""
    return [sys.executable, "-m", __name__, str(folder / SOCKET), "{action}"]


def switch(qmp: Qmp, action: Action) -> str:
    """Carry out an action, and return its output."""
    if action in ("off", "cycle"):
        # Stopped first, so that it does not run between the reset and the stop.
        qmp.execute("stop")
        qmp.execute("system_reset")
    if action in ("on", "cycle"):
        qmp.execute("cont")
    return "on" if qmp.execute("query-status")["running"] else "off"


def main(argv: Sequence[str] | None = None) -> int:
    """Switch the machine; an error is one line, with exit status 1."""
    parser = argparse.ArgumentParser(prog="bmc", description="power of an emulated lab machine")
    parser.add_argument("socket", type=Path)
    parser.add_argument("action", choices=get_args(Action))
    asked = parser.parse_args(argv)
    deadline = Deadline.after(ANSWER_SECONDS, "the BMC's answer")
    try:
        with closing(Qmp(asked.socket, deadline)) as qmp:
            print(f"power is {switch(qmp, asked.action)}")
    except InfrastructureError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
