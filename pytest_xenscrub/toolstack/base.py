# SPDX-License-Identifier: MIT
"""The common part of the xl and libvirt drivers: a folder in dom0, removal of this run's guests."""

from __future__ import annotations

import shlex
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

from pytest_xenscrub.deadline import OUT_OF_TIME, Deadline
from pytest_xenscrub.errors import InfrastructureError
from pytest_xenscrub.identity import is_of_run

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from pytest_xenscrub.dom0.answers import Reclaim, Until
    from pytest_xenscrub.dom0.client import Dom0
    from pytest_xenscrub.toolstack.protocol import Listed

_INSTALL_SECONDS = 120.0
_CLOSE_SECONDS = 60.0
_DISK = "/var/lib/xen"
"""Folder for saved domains in dom0; /run would take dom0's memory."""
_DYING_SECONDS = 5.0
_POLL_SECONDS = 0.2


class ToolstackBase(ABC):
    """The common part of all toolstacks' drivers.

    Attributes:
        logs: beginning of the paths of the toolstack's logs in dom0, before the tag.
        by_hand: the command that destroys a domain, for an error's advice.

    Args:
        dom0: the agent that runs, times and watches commands.
        tag: the run's tag, with which the names of all its domains begin; also names its folder in
            dom0.
    """

    logs: ClassVar[str]
    by_hand: ClassVar[str]
    _installed: Path
    """Path of the guest kernel on this machine."""

    def __init__(self, dom0: Dom0, tag: str) -> None:
        self.dom0 = dom0
        self.tag = tag
        self.folder = f"/run/{tag}"
        self.kernel = f"{self.folder}/kernel.elf"
        self._before: set[int] = set()
        self.saved = f"{_DISK}/{tag}"

    @abstractmethod
    def list(self, deadline: Deadline) -> list[Listed]:
        """All domains, with dom0."""

    @abstractmethod
    def _end(self, domid: int, deadline: Deadline) -> None:
        """Destroy a domain that is left, without watching it."""

    def _deadline(self, seconds: float, what: str) -> Deadline:
        """A deadline for things around Xen."""
        return Deadline.after(seconds, f"{self.dom0.host.name}: {what}")

    def _ours(self, deadline: Deadline) -> dict[int, str]:
        """The names of this run's guests by domid, including guests that have lost their name."""
        ours = {
            domain.domid: f"domain {domain.domid}"
            for domain in self.dom0.domains()
            if is_of_run(domain.uuid, self.tag)
        }
        listed = self.list(deadline)
        return ours | {d.domid: d.name for d in listed if d.name.startswith(f"{self.tag}-")}

    def install(self, kernel: Path) -> None:
        """Copy a guest kernel into this run's folder in dom0, before any guest is created."""
        deadline = self._deadline(_INSTALL_SECONDS, "copying the guest kernel")
        self._before = self._domids()
        self._installed = kernel
        # The agent makes the folder as well, which is faster than a command.
        self.dom0.write(f"{self.folder}/owner", "a run of pytest-xenscrub\n")
        self.dom0.host.put(kernel, self.kernel, deadline=deadline)

    def room_bytes(self, deadline: Deadline) -> int:
        """Free space for saved domains on dom0's disk, bytes."""
        self._shell(f"mkdir -p {self.saved}", deadline)
        return int(self._shell(f"df -B1 --output=avail {self.saved} | tail -n 1", deadline))

    def _saved_file(self, name: str, deadline: Deadline) -> str:
        self._shell(f"mkdir -p {self.saved}", deadline)
        return f"{self.saved}/{name}"

    def _drop_saved(self, name: str, deadline: Deadline) -> None:
        self._shell(f"rm -f {shlex.quote(f'{self.saved}/{name}')}", deadline)

    def _leaving(
        self, domid: int, leave: Callable[[], object], *, until: Until, deadline: Deadline
    ) -> Reclaim:
        """Watch a domain that ends by `leave`, and not by a command of the agent."""
        watch = self.dom0.watch(domid, None, until=until, deadline=deadline, may_stay_alive=True)
        try:
            leave()
        except OUT_OF_TIME:
            if watch.done:
                watch.result()  # raises a better error, if the watch timed out, too
            raise
        return watch.result()

    def _shell(self, script: str, deadline: Deadline) -> str:
        return self.dom0.run(["sh", "-c", script], deadline=deadline).check().stdout

    def _domids(self) -> set[int]:
        return {domain.domid for domain in self.dom0.domains()}

    def clean(self) -> None:
        """Destroy every domain of this run, including half-built and dying ones.

        Raises:
            InfrastructureError: some domains are left; the error says which, and what to do.
            XenHungError: the toolstack hung.
        """
        # A command still runs only if its caller was interrupted.
        self.dom0.abort()
        # The agent can tell in a millisecond that no guest is left; a toolstack takes longer.
        if self._domids() <= self._before:
            return
        step = f"{self.dom0.host.name}: removing this run's guests"
        deadline = self.dom0.patience(step, self.dom0.total_bytes)
        for domid in self._ours(deadline):
            try:
                self._end(domid, deadline)
            except InfrastructureError:
                # A guest may have ended by itself meanwhile, so only guests that are left count.
                continue
        if left := self._left(deadline):
            raise InfrastructureError(
                f"{self.dom0.host.name}: guests of this run are left: {', '.join(left)}",
                todo=f"destroy them by hand: {self.by_hand} NAME",
                evidence=self.dom0.evidence(),
            )

    def _left(self, deadline: Deadline) -> Sequence[str]:
        """Names of this run's guests that are not gone in time."""
        end = deadline.within(_DYING_SECONDS, deadline.step)
        while (left := self._ours(deadline)) and not end.passed:
            time.sleep(_POLL_SECONDS)
        return list(left.values())

    def close(self) -> None:
        """Destroy all domains of this run, and remove its folder and logs; raises as `clean`."""
        try:
            self.clean()
        finally:
            deadline = self._deadline(_CLOSE_SECONDS, "removing this run's files")
            self._shell(f"rm -rf {self.folder} {self.saved} {self.logs}{self.tag}-*", deadline)
