# SPDX-License-Identifier: MIT
"""`Host`: the protocol of a host, a lab machine or one that QEMU emulates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Sequence
    from pathlib import Path

    from pytest_xenscrub.deadline import Deadline
    from pytest_xenscrub.host.outside import Outside


@dataclass(frozen=True)
class CommandResult:
    """How a command in dom0 ended.

    Attributes:
        argv: the command.
        returncode: the command's exit status.
        stdout: the command's standard output.
        stderr: the command's standard error.
    """

    argv: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str


class Host(Protocol):
    """A machine that runs Xen, driven through its dom0.

    Every method may raise `InfrastructureError` if the host cannot be reached, and
    `DeadlineExceededError`, naming the step, if it takes too long.
    """

    @property
    def name(self) -> str:
        """The host's name, as the user wrote it: "emulated", "root@lab7"."""

    @property
    def kind(self) -> str:
        """The kind of host, for header and results: real, emulated (TCG), emulated (KVM)."""

    @property
    def outside(self) -> Outside | None:
        """The view of an emulated host without its dom0; None for a real host."""

    def run(
        self,
        argv: Sequence[str],
        *,
        deadline: Deadline,
        check: bool = True,
        stdin: bytes | None = None,
    ) -> CommandResult:
        """Run a command in dom0 and wait; raise `CommandError` on failure if `check`."""

    def popen(self, argv: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start a command in dom0 whose stdin, stdout and stderr are pipes of this process."""

    def ssh_command(self, argv: Sequence[str], *, tty: bool = False) -> list[str]:
        """The local command line that runs `argv` in dom0, for a program that spawns commands.

        Args:
            argv: the command.
            tty: whether the command gets a terminal in dom0.
        """

    def put(self, local: Path, remote: str, *, deadline: Deadline) -> None:
        """Copy a file into dom0; the remote folder must exist. Atomic: never seen half-written."""

    def serial_tail(self, lines: int = 20) -> str:
        """The last lines of the serial log; empty if it cannot be read."""

    def close(self) -> None:
        """Release the host; an emulated one is powered off. Never raises; may be called twice."""
