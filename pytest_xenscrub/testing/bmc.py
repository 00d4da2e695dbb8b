# SPDX-License-Identifier: MIT
"""The lab machine's BMC: `python -m pytest_xenscrub.testing.bmc SOCKET ACTION`.

A power command as any other, for `--xen-power`. A machine without power is one that has been reset
and whose processors do not run.
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
    """The words of the power command of the machine with that folder."""
    return [sys.executable, "-m", __name__, str(folder / SOCKET), "{action}"]


def switch(qmp: Qmp, action: Action) -> str:
    """Do as the button does, and return what is to be said of it."""
    if action in ("off", "cycle"):
        # Stopped first: it must not run a little between the reset and that.
        qmp.execute("stop")
        qmp.execute("system_reset")
    if action in ("on", "cycle"):
        qmp.execute("cont")
    return "on" if qmp.execute("query-status")["running"] else "off"


def main(argv: Sequence[str] | None = None) -> int:
    """Switch; what cannot be done is told in one line and an exit code of 1."""
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
