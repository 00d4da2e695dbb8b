# SPDX-License-Identifier: MIT
"""The xl toolstack: commands timed in dom0, consoles over pexpect on the shared SSH connection."""

from __future__ import annotations

import itertools
import json
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast
from uuid import UUID

import pexpect

from pytest_xenscrub.deadline import Deadline
from pytest_xenscrub.errors import GuestFailedError, InfrastructureError
from pytest_xenscrub.guest.console import ErrorLine, Event, LineDecoder

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_xenscrub.dom0.client import Dom0, Reclaim, TimedResult

MIB = 1 << 20


@dataclass(frozen=True)
class GuestSpec:
    """A PV guest that is wanted: `actions` is what it does, as the kernel's `do=` has it."""

    memory_bytes: int
    vcpus: int
    actions: str
    clean_byte: int = 0
    on_crash: str = "destroy"


class Domain:
    """A guest that runs, with its console."""

    def __init__(self, dom0: Dom0, name: str, domid: int, created: TimedResult) -> None:
        self.dom0 = dom0
        self.name = name
        self.domid = domid
        self.created = created
        self._decoder = LineDecoder()
        command = dom0.host.ssh_command(["xl", "console", "-t", "pv", str(domid)])
        self._console = pexpect.spawn(command[0], command[1:], echo=False, timeout=None)

    def wait_for(self, wanted: type[Event], deadline: Deadline) -> list[Event]:
        """Every event up to the first of the type wanted."""
        events: list[Event] = []
        while True:
            try:
                data = self._console.read_nonblocking(1 << 16, timeout=min(1, deadline.remaining))
            except pexpect.TIMEOUT:
                if deadline.passed:
                    raise deadline.error(
                        console="\n".join(self._decoder.plain), **self.dom0.evidence()
                    ) from None
                continue
            except pexpect.EOF:
                raise GuestFailedError(
                    f"{self.name}: its console closed", evidence=self.dom0.evidence()
                ) from None
            for event in self._decoder.feed(cast("bytes", data)):
                events.append(event)
                if isinstance(event, ErrorLine):
                    raise GuestFailedError(f"{self.name}: {event.what} {event.detail}")
                if isinstance(event, wanted):
                    return events

    def destroy(self, *, wait_clean: bool = True, seconds: float = 60) -> Reclaim:
        """`xl destroy`, watched in dom0 until its memory is free, or clean."""
        deadline = Deadline.after(seconds, f"xl destroy {self.name}")
        reclaim = self.dom0.reclaim(
            self.domid, ["xl", "destroy", str(self.domid)], wait_clean=wait_clean, deadline=deadline
        )
        self.close()
        if reclaim.command is not None:
            reclaim.command.check()
        return reclaim

    def close(self) -> None:
        """Let go of the console."""
        self._console.close(force=True)


class Xl:
    """Creates guests with xl; every guest of this run carries the run's name."""

    name = "xl"

    def __init__(self, dom0: Dom0, kernel: Path) -> None:
        self.dom0 = dom0
        self.run = secrets.randbits(24) | 1
        self.folder = f"/run/xenscrub-{self.run:06x}"
        self._numbers = itertools.count(1)
        deadline = Deadline.after(30, f"{dom0.host.name}: copying the guest kernel")
        dom0.host.run(["mkdir", "-p", self.folder], deadline=deadline)
        dom0.host.put(kernel, f"{self.folder}/kernel.elf", deadline=deadline)

    def create(self, spec: GuestSpec, role: str, *, seconds: float = 60) -> Domain:
        """`xl create`; raises `InfrastructureError` if xl says done and the domain is not there."""
        number = next(self._numbers)
        name = f"xenscrub-{self.run:06x}-{role}-{number}"
        uuid = UUID(bytes=secrets.token_bytes(16), version=4)
        config = {
            "type": "pv",
            "name": name,
            "uuid": str(uuid),
            "kernel": f"{self.folder}/kernel.elf",
            "memory": spec.memory_bytes // MIB,
            "vcpus": spec.vcpus,
            "extra": f"run={self.run:#x} guest={number} clean={spec.clean_byte:#04x}"
            f" do={spec.actions}",
            "on_crash": spec.on_crash,
        }
        path = f"{self.folder}/{name}.cfg"
        # xl's configuration syntax takes JSON's strings and numbers as they are.
        self.dom0.write(path, "".join(f"{k} = {json.dumps(v)}\n" for k, v in config.items()))
        deadline = Deadline.after(seconds, f"xl create {name}")
        created = self.dom0.run(["xl", "create", path], deadline=deadline).check()
        for domain in self.dom0.domains():
            if domain.uuid == uuid:
                return Domain(self.dom0, name, domain.domid, created)
        raise InfrastructureError(f"{name}: created, but not among the domains", tried=path)

    def close(self) -> None:
        """Destroy every guest of this run that is left, and remove its folder."""
        ours = f"xenscrub-{self.run:06x}"
        script = (
            f"for d in $(xl list | awk '/^{ours}-/ {{print $2}}'); do xl destroy $d; done;"
            f" rm -rf {self.folder} /var/log/xen/xl-{ours}*"
        )
        deadline = Deadline.after(60, f"{self.dom0.host.name}: removing this run's guests")
        self.dom0.run(["sh", "-c", script], deadline=deadline)
