# SPDX-License-Identifier: MIT
"""Emulated lab machines, for tests of code that drives a lab machine.

Public names are `LabMachine`, a machine in QEMU with its own disk, GRUB, sshd and BMC, and `ALIAS`,
its name in its ssh configuration:

    from pytest_xenscrub import Deadline
    from pytest_xenscrub.testing import ALIAS, LabMachine

    deadline = Deadline.after(3600, "a lab machine")
    with closing(LabMachine.start(say=print, deadline=deadline)) as machine:
        subprocess.run(["ssh", "-F", machine.ssh_config, ALIAS, "xl", "info"], check=True)

No other room imports this one. A name is loaded on first use, because the BMC is a separate
program, which does not need these names.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_xenscrub.testing.lab import ALIAS as ALIAS
    from pytest_xenscrub.testing.lab import LabMachine as LabMachine
else:
    __all__ = ["ALIAS", "LabMachine"]

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{__name__}.lab"), name)

    def __dir__() -> list[str]:
        return sorted([*globals(), *__all__])
