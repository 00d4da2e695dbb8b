# SPDX-License-Identifier: MIT
"""The way to libvirt's daemon: the host's own ssh connection, with a relay program in dom0."""

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
        daemons: libvirt's installed daemons: virtxend, libvirtd.
        driver: whether libvirt's Xen driver is installed.
        socket: path of the socket that answered; empty if none did.
        error: the reason, if there is more to say than that no socket exists.
    """

    daemons: list[str]
    driver: bool
    socket: str
    error: str


@dataclass(frozen=True)
class DaemonCall:
    """Times of a call at the daemon: moments on dom0's monotonic clock, s."""

    issued: float
    returned: float


class Transport:
    """The program that libvirt starts in place of ssh, and that program's reports.

    libvirt's own options for ssh support neither a configuration file nor a shared connection. So
    libvirt gets a program that starts ssh with this host's identity, port and known host key. It
    ignores libvirt's arguments, which it does not need.

    Attributes:
        uri: the URI for libvirt.

    Args:
        host: the host.
        tag: the run's tag; calls for domains whose names begin with it are timed.
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
        """What the relay found; None if the relay did not start."""
        return next((Daemon(**fact) for fact in self._facts() if "daemons" in fact), None)

    @property
    def complaints(self) -> str:
        """Error messages of ssh and of the shell in dom0."""
        lines = self._told.read_text(errors="replace").splitlines()
        return "\n".join(line for line in lines if not line.startswith("{"))

    def timing(self, call: str, domain: str, deadline: Deadline) -> DaemonCall:
        """When a call that has returned was issued and answered.

        Args:
            call: "create" or "destroy".
            domain: the domain's name.
            deadline: limit for the relay's report, which left dom0 before the answer did.
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
        """End ssh, and with it every call that is under way; libvirt reaps ssh, its child."""
        with contextlib.suppress(OSError, ValueError):
            os.kill(int(self._pid.read_text()), signal.SIGKILL)

    def close(self) -> None:
        """Remove its files. Never raises, may be called twice."""
        self._run_folder.close()
