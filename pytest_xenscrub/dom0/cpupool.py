# SPDX-License-Identifier: MIT
"""`CpuPool`: a CPU pool with its own scheduler, made by `xl` in dom0."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from pytest_xenscrub.errors import CommandError, XenFaultError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_xenscrub.dom0.client import Dom0

DEFAULT_POOL: Final = "Pool-0"
"""Xen's default pool: it has dom0, and all CPUs that are in no other pool."""


class CpuPool:
    """A CPU pool; `close` destroys it.

    Args:
        dom0: the agent in the host's dom0.
        name: the pool's name.
        scheduler: the pool's scheduler: "credit", "credit2".
        cpus: the pool's CPUs; they are taken from `Pool-0`, and given back by `close`.

    Raises:
        CommandError: xl failed.
    """

    def __init__(self, dom0: Dom0, name: str, scheduler: str, cpus: Sequence[int]) -> None:
        self._dom0 = dom0
        self._name = name
        self._taken: list[int] = []
        self._made = False
        try:
            for cpu in cpus:
                self._xl("cpupool-cpu-remove", DEFAULT_POOL, str(cpu))
                self._taken.append(cpu)
            names = ", ".join(f'"{cpu}"' for cpu in cpus)
            self._xl("cpupool-create", f'name="{name}"', f'sched="{scheduler}"', f"cpus=[{names}]")
        except BaseException:
            self._give_back()
            raise
        self._made = True

    def _xl(self, *command: str) -> str:
        deadline = self._dom0.patience(f"{self._dom0.host.name}: xl {command[0]}")
        return self._dom0.run(["xl", *command], deadline=deadline).check().stdout

    def take_in(self, domid: int) -> None:
        """Move a domain into the pool.

        Raises:
            CommandError: xl failed.
        """
        self._xl("cpupool-migrate", str(domid), self._name)

    def domains(self) -> int:
        """How many domains are in the pool, as Xen counts them."""
        listed = self._xl("cpupool-list", self._name)
        found = re.search(rf"^{re.escape(self._name)}\s.*\s(\d+)\s*$", listed, re.MULTILINE)
        if found is None:
            raise CommandError(
                f"xl cpupool-list does not tell of {self._name}", evidence={"stdout": listed}
            )
        return int(found[1])

    def close(self) -> None:
        """Destroy the pool, and give its CPUs back; a second call does nothing.

        Raises:
            XenFaultError: the pool cannot be destroyed, though no domain should be in it.
        """
        if self._made:
            try:
                self._xl("cpupool-destroy", self._name)
            except CommandError as error:
                raise XenFaultError(
                    f"{self._dom0.host.name}: a CPU pool without domains cannot be destroyed",
                    tried=f"xl cpupool-destroy {self._name}",
                    evidence={**error.evidence, **self._dom0.evidence()},
                ) from error
            self._made = False
        self._give_back()

    def _give_back(self) -> None:
        while self._taken:
            self._xl("cpupool-cpu-add", DEFAULT_POOL, str(self._taken.pop()))
