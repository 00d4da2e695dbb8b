# SPDX-License-Identifier: MIT
"""What xl and libvirt have in common: a folder in dom0, and domains that bear this run's tag."""

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
"""Where dom0 has room for saved domains: /run is part of its memory."""
_DYING_SECONDS = 5.0
_POLL_SECONDS = 0.2


class ToolstackBase(ABC):
    """The part of a toolstack's driver that is the same for all.

    Attributes:
        logs: where the toolstack keeps its logs in dom0; the rest of their names is the tag's.
        by_hand: the command that destroys a domain, for someone who has to.

    Args:
        dom0: the agent that runs, times and watches.
        tag: begins the name of every domain, and names the folder in dom0, of this run alone.
    """

    logs: ClassVar[str]
    by_hand: ClassVar[str]
    _installed: Path
    """The guest kernel, on this machine."""

    def __init__(self, dom0: Dom0, tag: str) -> None:
        self.dom0 = dom0
        self.tag = tag
        self.folder = f"/run/{tag}"
        self.kernel = f"{self.folder}/kernel.elf"
        self._before: set[int] = set()
        self.saved = f"{_DISK}/{tag}"

    @abstractmethod
    def list(self, deadline: Deadline) -> list[Listed]:
        """All domains, dom0 too."""

    @abstractmethod
    def _end(self, domid: int, deadline: Deadline) -> None:
        """Destroy a domain that is left, and do not watch it."""

    def _deadline(self, seconds: float, what: str) -> Deadline:
        """For what is around Xen."""
        return Deadline.after(seconds, f"{self.dom0.host.name}: {what}")

    def _ours(self, deadline: Deadline) -> dict[int, str]:
        """The names of this run's guests by their domid, those too that have lost it."""
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
        # The agent makes the folder with it, faster than a command would.
        self.dom0.write(f"{self.folder}/owner", "a run of pytest-xenscrub\n")
        self.dom0.host.put(kernel, self.kernel, deadline=deadline)

    def room_bytes(self, deadline: Deadline) -> int:
        """Room for saved domains on dom0's disk, bytes."""
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
        """Watch a domain that no command of the agent's ends: `leave` does."""
        watch = self.dom0.watch(domid, None, until=until, deadline=deadline, elsewhere=True)
        try:
            leave()
        except OUT_OF_TIME:
            if watch.done:
                watch.result()  # says how far it had come, if it has seen the same
            raise
        return watch.result()

    def _shell(self, script: str, deadline: Deadline) -> str:
        return self.dom0.run(["sh", "-c", script], deadline=deadline).check().stdout

    def _domids(self) -> set[int]:
        return {domain.domid for domain in self.dom0.domains()}

    def clean(self) -> None:
        """Destroy every domain that is this run's, half-built and half-dead ones too.

        Raises:
            InfrastructureError: some are left; says which, and what to do.
            XenHungError: the toolstack hung.
        """
        # Whoever waited for it was interrupted, or it would have ended.
        self.dom0.abort()
        # The agent sees in a millisecond that nothing is left, which a toolstack takes long for.
        if self._domids() <= self._before:
            return
        step = f"{self.dom0.host.name}: removing this run's guests"
        deadline = self.dom0.patience(step, self.dom0.total_bytes)
        for domid in self._ours(deadline):
            try:
                self._end(domid, deadline)
            except InfrastructureError:
                # It may have ended by itself in between: what counts is what is left.
                continue
        if left := self._left(deadline):
            raise InfrastructureError(
                f"{self.dom0.host.name}: guests of this run are left: {', '.join(left)}",
                todo=f"destroy them by hand: {self.by_hand} NAME",
                evidence=self.dom0.evidence(),
            )

    def _left(self, deadline: Deadline) -> Sequence[str]:
        """Names of this run's guests that do not go away."""
        end = deadline.within(_DYING_SECONDS, deadline.step)
        while (left := self._ours(deadline)) and not end.passed:
            time.sleep(_POLL_SECONDS)
        return list(left.values())

    def close(self) -> None:
        """Destroy what is left, and remove the folder and logs of this run; raises as `clean`."""
        try:
            self.clean()
        finally:
            deadline = self._deadline(_CLOSE_SECONDS, "removing this run's files")
            self._shell(f"rm -rf {self.folder} {self.saved} {self.logs}{self.tag}-*", deadline)
