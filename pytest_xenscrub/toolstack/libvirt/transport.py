# SPDX-License-Identifier: MIT
"""The way to libvirt's daemon: the host's own ssh connection, with our relay at its far end."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import time
import urllib.parse
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_xenscrub.dom0.program import source
from pytest_xenscrub.errors import InfrastructureError
from pytest_xenscrub.host.rundir import RunFolder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_xenscrub.deadline import Deadline
    from pytest_xenscrub.host.protocol import Host

_REPORT_POLL_SECONDS = 0.005


@dataclass(frozen=True)
class Daemon:
    """What the relay found in dom0.

    Attributes:
        daemons: libvirt's daemons that are installed: virtxend, libvirtd.
        driver: whether its driver for Xen is.
        socket: path of the socket that answered; empty if none did.
        error: why it did not, where there is more to say than that there is none.
    """

    daemons: list[str]
    driver: bool
    socket: str
    error: str


@dataclass(frozen=True)
class DaemonCall:
    """A call as the daemon had it: moments on dom0's monotonic clock, s."""

    issued: float
    returned: float


class Transport:
    """What libvirt starts in place of ssh, and what that tells.

    libvirt's own options for ssh know no configuration file and no shared connection, so it is
    given a program that starts ssh as this host is used to: with its identity, port and known
    host key. The arguments that libvirt has for that program say nothing that it does not know.

    Attributes:
        uri: for libvirt.

    Args:
        host: whose dom0 it goes to.
        tag: begins the names of the domains whose calls are timed.
    """

    def __init__(self, host: Host, tag: str) -> None:
        self._run_folder = RunFolder()
        folder = self._run_folder.path
        self._told = folder / "relay.log"
        self._pid = folder / "ssh.pid"
        self._told.touch()
        relay = source("libvirt_relay").decode()
        ssh = shlex.join(host.ssh_command(["python3", "-u", "-c", relay, tag]))
        program = folder / "ssh"
        program.write_text(
            "#!/bin/sh\n"
            f"echo $$ > {shlex.quote(str(self._pid))}\n"
            f"exec {ssh} 2>> {shlex.quote(str(self._told))}\n"
        )
        program.chmod(0o700)
        where = urllib.parse.quote(host.name, safe="@:[]")
        self.uri = f"xen+ssh://{where}/system?command={urllib.parse.quote(str(program))}"

    def _facts(self) -> Iterator[dict[str, Any]]:
        for line in self._told.read_text(errors="replace").splitlines():
            with contextlib.suppress(ValueError):
                yield json.loads(line)

    @property
    def daemon(self) -> Daemon | None:
        """What the relay found; None if it did not come so far."""
        return next((Daemon(**fact) for fact in self._facts() if "daemons" in fact), None)

    @property
    def complaints(self) -> str:
        """What ssh and the shell in dom0 complained of."""
        lines = self._told.read_text(errors="replace").splitlines()
        return "\n".join(line for line in lines if not line.startswith("{"))

    def timing(self, call: str, domain: str, deadline: Deadline) -> DaemonCall:
        """When a call that has returned was issued and answered.

        Args:
            call: "create" or "destroy".
            domain: the domain's name.
            deadline: for the relay's word, which left dom0 before the answer did.
        """
        while True:
            for fact in self._facts():
                if (fact.get("call"), fact.get("domain")) == (call, domain):
                    return DaemonCall(fact["issued"], fact["returned"])
            if deadline.passed:
                raise InfrastructureError(
                    f"{domain}: the relay in dom0 did not tell what {call} took",
                    evidence={"relay": self.complaints},
                )
            time.sleep(_REPORT_POLL_SECONDS)

    def kill(self) -> None:
        """End ssh, and with it every call that is under way. It is a child that libvirt reaps."""
        with contextlib.suppress(OSError, ValueError):
            os.kill(int(self._pid.read_text()), signal.SIGKILL)

    def close(self) -> None:
        """Remove what belonged to it. Never raises, may be called twice."""
        self._run_folder.close()
