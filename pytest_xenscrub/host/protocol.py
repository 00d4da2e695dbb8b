# SPDX-License-Identifier: MIT
"""What a host can do, whatever it is made of: a machine in a lab or one that QEMU emulates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Sequence
    from pathlib import Path

    from pytest_xenscrub.deadline import Deadline
    from pytest_xenscrub.host.memory import HostMemory
    from pytest_xenscrub.host.sampling import Sampling


@dataclass(frozen=True)
class CommandResult:
    """How a command in dom0 ended.

    Attributes:
        argv: the command as it was given.
        returncode: its exit status.
        stdout: what it printed.
        stderr: what it complained.
    """

    argv: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str


class Host(Protocol):
    """A machine that runs Xen, driven through its dom0.

    Every method may raise `InfrastructureError` where the host cannot be reached, and
    `DeadlineExceededError`, naming the step, where it takes too long.
    """

    @property
    def name(self) -> str:
        """How the user called it: "emulated", "root@lab7"."""

    @property
    def kind(self) -> str:
        """What it is made of, for header and results: real, emulated (TCG), emulated (KVM)."""

    @property
    def memory(self) -> HostMemory | None:
        """Its RAM, to be read from outside while it runs; None where this machine has it not."""

    def run(
        self,
        argv: Sequence[str],
        *,
        deadline: Deadline,
        check: bool = True,
        stdin: bytes | None = None,
    ) -> CommandResult:
        """Run a command in dom0 to its end; raise `CommandError` on failure if `check`."""

    def popen(self, argv: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start a command in dom0 whose stdin, stdout and stderr are pipes of this process."""

    def ssh_command(self, argv: Sequence[str], *, tty: bool = False) -> list[str]:
        """The local command line that runs `argv` in dom0, for a program that spawns it itself.

        Args:
            argv: the command.
            tty: whether it gets a terminal in dom0.
        """

    def put(self, local: Path, remote: str, *, deadline: Deadline) -> None:
        """Copy a file into dom0; the remote folder must exist. Atomic: never seen half-written."""

    def settle(self, deadline: Deadline) -> None:
        """Wait until it is as fast as it will be, so that the first timing is like the others."""

    def starved_seconds(self) -> float:
        """How long its CPUs have been kept from running so far, by other work of this machine, s.

        A machine of its own is kept by nobody: 0.
        """

    def where_cpus_are(self) -> str:
        """What each CPU executes, seen from outside; empty where that cannot be seen."""

    def start_sampling(self) -> Sampling | None:
        """Look at the CPUs again and again from now on.

        None where they cannot be seen, and where somebody looks already.
        """

    def serial_tail(self, lines: int = 20) -> str:
        """Last lines of the serial log; empty where the host has none that we can read."""

    def close(self) -> None:
        """Let go of the host; an emulated one is powered off. Never raises, may be called twice."""
