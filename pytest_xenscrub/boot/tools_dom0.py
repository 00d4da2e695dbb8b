# SPDX-License-Identifier: MIT
"""Puts built tools into dom0, and makes them the ones that run."""

from __future__ import annotations

import re
import uuid
from typing import TYPE_CHECKING

from pytest_xenscrub.dom0.program import run_program
from pytest_xenscrub.errors import ConfigurationError, InfrastructureError

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from pytest_xenscrub.deadline import Deadline
    from pytest_xenscrub.host.outside import Outside
    from pytest_xenscrub.host.protocol import CommandResult, Host
    from pytest_xenscrub.hypervisor.tools_artefact import ToolsArtefact

_CANNOT_RUN = re.compile(r"^(?:ImportError|ModuleNotFoundError|OSError): Python", re.M)


class HostWithTools:
    """A host whose commands find the built tools before dom0's; implements `Host`.

    Args:
        inner: the host.
        environment: the result of `activate`.
    """

    def __init__(self, inner: Host, environment: Mapping[str, str]) -> None:
        self.inner = inner
        self._env = ["env", *(f"{name}={value}" for name, value in environment.items())]

    @property
    def name(self) -> str:
        """The host's name, as the user wrote it."""
        return self.inner.name

    @property
    def kind(self) -> str:
        """The kind of host."""
        return self.inner.kind

    @property
    def outside(self) -> Outside | None:
        """The view of an emulated host without its dom0."""
        return self.inner.outside

    def run(
        self,
        argv: Sequence[str],
        *,
        deadline: Deadline,
        check: bool = True,
        stdin: bytes | None = None,
    ) -> CommandResult:
        """Run a command in dom0 to its end; raises as the host does."""
        return self.inner.run([*self._env, *argv], deadline=deadline, check=check, stdin=stdin)

    def popen(self, argv: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start a command in dom0 whose stdin, stdout and stderr are pipes of this process."""
        return self.inner.popen([*self._env, *argv])

    def ssh_command(self, argv: Sequence[str], *, tty: bool = False) -> list[str]:
        """The local command line that runs `argv` in dom0."""
        return self.inner.ssh_command([*self._env, *argv], tty=tty)

    def put(self, local: Path, remote: str, *, deadline: Deadline) -> None:
        """Copy a file into dom0. Atomic: never seen half-written."""
        self.inner.put(local, remote, deadline=deadline)

    def serial_tail(self, lines: int = 20) -> str:
        """Last lines of the serial log."""
        return self.inner.serial_tail(lines)

    def close(self) -> None:
        """Release the host."""
        self.inner.close()


def install(host: Host, tools: ToolsArtefact, *, deadline: Deadline) -> None:
    """Copy tools into dom0 and unpack them below their prefix, without other changes.

    Raises:
        ConfigurationError: the tools cannot run in this dom0: its Python or a library differs.
        InfrastructureError: the tools could not be copied.
        DeadlineExceededError: it took too long.
    """
    there = host.run(["test", "-x", f"{tools.prefix}/sbin/xl"], deadline=deadline, check=False)
    if there.returncode == 0:
        return
    remote = f"/tmp/{tools.prefix.rpartition('/')[2]}.{uuid.uuid4().hex[:8]}"  # noqa: S108 - new
    host.put(tools.tarball, remote, deadline=deadline)
    done = run_program(host, "unpack_tools", tools.prefix, remote, deadline=deadline)
    if done.returncode == 0:
        return
    what = f"the tools that were built from Xen {tools.version} cannot"
    if _CANNOT_RUN.search(done.stderr):
        raise ConfigurationError(
            f"{what} run in {host.name}'s dom0",
            tried=f"its libraries, and bindings for Python {tools.python}",
            todo="build on a machine of dom0's own Debian release, or use a dom0 of this machine's"
            " (--xen-suite)",
            evidence={"dom0": done.stderr[-1500:]},
        )
    raise InfrastructureError(
        f"{what} be unpacked in {host.name}'s dom0",
        tried=tools.prefix,
        todo="is there room on its root file system?",
        evidence={"dom0": done.stderr[-1500:]},
    )


def activate(host: Host, tools: ToolsArtefact, *, deadline: Deadline) -> dict[str, str]:
    """Make installed tools the ones that run: xenstored, xenconsoled, and dom0's set-up.

    To be called once the Xen that they belong to runs, before any guest is created. Tools that run
    already are left alone. dom0's libvirtd cannot connect to Xen meanwhile, because it uses dom0's
    own libraries.

    Returns:
        The environment for commands in dom0, for `HostWithTools`.

    Raises:
        InfrastructureError: a daemon does not start, or xl does not drive this Xen.
        DeadlineExceededError: it took too long.
    """
    path = host.run(["sh", "-c", 'echo "$PATH"'], deadline=deadline).stdout.strip()
    environment = {"PATH": f"{tools.folders}:{path}", "PYTHONPATH": tools.bindings}
    ours = HostWithTools(host, environment)
    done = run_program(ours, "activate_tools", tools.prefix, deadline=deadline)
    if done.returncode:
        raise InfrastructureError(
            f"{host.name}: the tools that were built from Xen {tools.version} do not run there",
            tried=f"xenstored, xen-init-dom0, xenconsoled and xl list below {tools.prefix}",
            todo="check that the Xen they were built with is the one that runs",
            evidence={
                "stdout": done.stdout[-1000:],
                "stderr": done.stderr[-1500:],
                "serial log": host.serial_tail(),
            },
        )
    return environment


def remove(host: Host, tools: ToolsArtefact, *, deadline: Deadline) -> None:
    """Remove tools from dom0; programs of theirs that still run go on until dom0 reboots."""
    host.run(["rm", "-rf", tools.prefix], deadline=deadline)
