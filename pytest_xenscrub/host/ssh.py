# SPDX-License-Identifier: MIT
"""`SshHost`: a host reached by the user's OpenSSH client over one shared connection."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import threading
import time
import uuid
from typing import TYPE_CHECKING

from pytest_xenscrub.deadline import Deadline
from pytest_xenscrub.errors import (
    CommandError,
    HostLostError,
    MissingToolError,
)
from pytest_xenscrub.host import spawn
from pytest_xenscrub.host.protocol import CommandResult
from pytest_xenscrub.host.rundir import RunFolder
from pytest_xenscrub.host.ssh_errors import classify, of_the_command, todo_of, why

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from pytest_xenscrub.host.target import Target

SSH_FAILED = 255
"""Exit status of ssh for its own failures; a command can return this status too."""

_CONNECT_SECONDS, _PATIENT_SECONDS = 30.0, 90.0
_IMPATIENT = ("ConnectTimeout=10", "ServerAliveInterval=5", "ServerAliveCountMax=6")
_PATIENT = ("ConnectTimeout=60", "ServerAliveInterval=0")


class SshHost:
    """A machine that runs Xen, driven over ssh.

    The connection is made at its first use, and again if it was lost.

    Args:
        target: the address that ssh connects to.
        config: ssh configuration file to use instead of the user's own.
        serial: gives the last lines of the host's serial log, if there is one.
        name: the host's name, as the user wrote it; default: the target.
        kind: the kind of host.
        patient: whether ssh waits long for the host, and keeps a silent connection: an emulated
            host may be starved, or stopped by us, and ssh cannot know for how long.
    """

    def __init__(
        self,
        target: Target,
        *,
        config: Path | None = None,
        serial: Callable[[int], str] | None = None,
        name: str | None = None,
        kind: str = "real",
        patient: bool = False,
    ) -> None:
        ssh = shutil.which("ssh")
        if ssh is None:
            raise MissingToolError("ssh is not installed", todo="apt-get install openssh-client")
        self._ssh = ssh
        self._target = target
        self._config = config
        self._serial = serial
        self._name = name or str(target)
        self._kind = kind
        self._patience = _PATIENT if patient else _IMPATIENT
        self._connect_seconds = _PATIENT_SECONDS if patient else _CONNECT_SECONDS
        self._lock = threading.RLock()
        self._master: subprocess.Popen[bytes] | None = None
        self._run_folder = RunFolder()
        self._folder = self._run_folder.path
        self._socket = self._folder / "s"

    @property
    def name(self) -> str:
        """The host's name, as the user wrote it."""
        return self._name

    @property
    def kind(self) -> str:
        """The kind of host."""
        return self._kind

    @property
    def outside(self) -> None:
        """Nothing: this machine sees no more of it than its dom0 tells."""
        return None

    def _base(self, *, tty: bool = False) -> list[str]:
        command = [self._ssh]
        if self._config is not None:
            command += ["-F", str(self._config)]
        for option in (
            "BatchMode=yes",
            *self._patience,
            "ControlPersist=no",
            f"ControlPath={self._socket}",
            "ClearAllForwardings=yes",
            "RemoteCommand=none",
            f"RequestTTY={'force' if tty else 'no'}",
            "LogLevel=ERROR",
        ):
            command += ["-o", option]
        if self._target.user is not None:
            command += ["-l", self._target.user]
        if self._target.port is not None:
            command += ["-p", str(self._target.port)]
        return command

    def connect(self, deadline: Deadline) -> None:
        """Make the shared connection if there is none.

        Raises:
            InfrastructureError: ssh could not connect; the cause is in the error.
        """
        with self._lock:
            if self._master is not None:
                if self._master.poll() is None and self._socket.exists():
                    return
                spawn.end(self._master)
                self._master = None
            self._socket.unlink(missing_ok=True)
            log = self._folder / "log"
            deadline = deadline.within(self._connect_seconds, f"ssh {self._target}")
            command = [*self._base(), "-o", "ControlMaster=yes", "-N", "--", self._target.host]
            with log.open("wb") as stderr:
                self._master = spawn.spawn_tied(command, stderr=stderr)
            while not self._socket.exists():
                if self._master.poll() is not None or deadline.passed:
                    late = self._master.poll() is None
                    spawn.end(self._master)
                    self._master = None
                    said = log.read_text(errors="replace")
                    said += "\nConnection timed out" if late else ""
                    raise classify(said, self._target, self._config, proxied=self._proxied())
                time.sleep(0.02)

    def _proxied(self) -> bool:
        """Whether ssh goes through a jump host or ProxyCommand, by the user's configuration."""
        command = [*self._base(), "-G", "--", self._target.host]
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, timeout=10, check=False
            )
        except subprocess.TimeoutExpired:
            return False
        return bool(re.search(rb"^proxy(jump|command) (?!none$)", done.stdout, re.MULTILINE))

    def _alive(self) -> bool:
        command = [*self._base(), "-O", "check", "--", self._target.host]
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, timeout=10, check=False
            )
        except subprocess.TimeoutExpired:
            return False
        return done.returncode == 0

    def ssh_command(self, argv: Sequence[str], *, tty: bool = False) -> list[str]:
        """The local command line that runs `argv` in dom0 over the shared connection."""
        base = [*self._base(tty=tty), "-o", "ControlMaster=no"]
        return [*base, "--", self._target.host, shlex.join(argv)]

    def popen(self, argv: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start a command in dom0 whose stdin, stdout and stderr are pipes of this process."""
        self.connect(Deadline.after(_CONNECT_SECONDS, f"ssh {self._target}"))
        return subprocess.Popen(
            self.ssh_command(argv),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # This process handles Ctrl-C or a CI's time limit, which signal the whole process
            # group.
            start_new_session=True,
        )

    def run(
        self,
        argv: Sequence[str],
        *,
        deadline: Deadline,
        check: bool = True,
        stdin: bytes | None = None,
    ) -> CommandResult:
        """Run a command in dom0 to its end.

        Raises:
            CommandError: the command failed and `check` is set.
            InfrastructureError: the host could not be reached, or was lost.
            DeadlineExceededError: the command took too long; it may still run in dom0.
        """
        self.connect(deadline)
        try:
            # Kill ssh if this ends early, for any reason.
            done = subprocess.run(
                self.ssh_command(argv),
                stdin=subprocess.DEVNULL if stdin is None else None,
                input=stdin,
                capture_output=True,
                timeout=max(0.01, deadline.remaining),
                check=False,
                start_new_session=True,
            )
        except subprocess.TimeoutExpired:
            raise deadline.error(
                command=shlex.join(argv), **{"serial log": self.serial_tail()}
            ) from None
        out, err = (text.decode(errors="replace") for text in (done.stdout, done.stderr))
        result = CommandResult(tuple(argv), done.returncode, out, of_the_command(err))
        if result.returncode == SSH_FAILED and not self._alive():
            raise HostLostError(
                f"the connection to {self._name} was lost",
                tried=shlex.join(argv),
                evidence={"ssh": result.stderr, "serial log": self.serial_tail()},
            )
        if check and result.returncode != 0:
            raise CommandError(
                f"a command on {self._name} returned {why(result)}",
                tried=shlex.join(argv),
                todo=todo_of(result.stderr),
                evidence={"stdout": result.stdout[-2000:], "stderr": result.stderr[-2000:]},
            )
        return result

    def put(self, local: Path, remote: str, *, deadline: Deadline) -> None:
        """Copy a file into dom0; the remote folder must exist. Never seen half-written."""
        temporary = f"{remote}.{uuid.uuid4().hex[:8]}"
        to, new = shlex.quote(remote), shlex.quote(temporary)
        mode = f"{os.stat(local).st_mode & 0o777:o}"  # noqa: PTH116
        script = (
            f"cat > {new} && chmod {mode} {new} && mv -f {new} {to} || {{ rm -f {new}; exit 1; }}"
        )
        self.run(["sh", "-c", script], deadline=deadline, stdin=local.read_bytes())

    def serial_tail(self, lines: int = 20) -> str:
        """Last lines of the serial log; empty if the host has none."""
        return "" if self._serial is None else self._serial(lines)

    def disconnect(self) -> None:
        """End the shared connection; the next command makes a new one."""
        with self._lock:
            master, self._master = self._master, None
            if master is None:
                return
            if master.poll() is None and self._socket.exists():
                command = [*self._base(), "-O", "exit", "--", self._target.host]
                with contextlib.suppress(subprocess.TimeoutExpired, OSError):
                    subprocess.run(
                        command, stdin=subprocess.DEVNULL, capture_output=True, timeout=5,
                        check=False,
                    )  # fmt: skip
            spawn.end(master)

    def close(self) -> None:
        """Release the host. Never raises; may be called twice."""
        self.disconnect()
        self._run_folder.close()
