# SPDX-License-Identifier: MIT
"""The lock on a machine: only one run at a time has it, and others can see whose it is."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pytest_xenscrub.dom0.program import start_program
from pytest_xenscrub.errors import HostLockedError, InfrastructureError

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping

    from pytest_xenscrub.host.protocol import Host
    from pytest_xenscrub.telling import Say

PATH = "/var/lib/pytest-xenscrub.lock"
"""The lock's file in dom0, where a reboot keeps it; removed when its run ends in order."""
GRACE_SECONDS = 120.0
"""For so long after dom0's start, the machine still belongs to the run that had it before."""
SILENCE_SECONDS = 90.0
"""A run that says nothing for so long counts as dead, even if its connection is still open."""
RENEW_SECONDS = 15.0
_OWN_SECONDS = 15.0
"""Limit for an old lock of this run, or for a look of another one, to end after a lost
connection."""


@dataclass(frozen=True)
class Holder:
    """Who has a machine, for others who wait for it.

    Attributes:
        tag: the run's tag, with which the names of all its files and guests begin.
        owner: the user's name.
        machine: the machine that runs pytest.
        since: start of the run, as text.
        purpose: a CI job's address, or a folder.
    """

    tag: str
    owner: str
    machine: str
    since: str
    purpose: str


def describe(holder: Mapping[str, Any] | None) -> str:
    """Describe who has a machine, in one line, from the lock's file."""
    if not holder:
        return "another run that is just starting or ending"
    line = "{tag} of {owner} on {machine}, since {since}: {purpose}".format_map(_Known(holder))
    return line + (" (it is rebooting the machine)" if holder.get("rebooting") else "")


class _Known(dict[str, Any]):
    def __missing__(self, key: str) -> str:
        return "?"


class HostLock:
    """One run's lock on one machine.

    Args:
        host: the machine; the lock has its own connection, and ends with it.
        holder: the run.
        say: prints a line for the user.
    """

    def __init__(self, host: Host, holder: Holder, say: Say) -> None:
        self._host = host
        self._holder = holder
        self._say = say
        self._process: subprocess.Popen[bytes] | None = None
        self._renewal: threading.Thread | None = None
        self._ended = threading.Event()

    @property
    def held(self) -> bool:
        """Whether this run has the lock, as far as this process knows."""
        return self._process is not None and self._process.poll() is None

    def acquire(self, wait_seconds: float) -> None:
        """Take the lock; takes it over from a dead run.

        Args:
            wait_seconds: longest wait for another run, s.

        Raises:
            HostLockedError: another run has the lock; the error says who.
            InfrastructureError: the machine cannot be reached, or locked.
        """
        self._drop()
        process = self._process = start_program(self._host, "locker")
        request = {
            "path": PATH, "wait": wait_seconds, "grace": GRACE_SECONDS,
            "silence": SILENCE_SECONDS, "who": asdict(self._holder),
        }  # fmt: skip
        self._renewal = threading.Thread(
            target=self._renew, args=(process, json.dumps(request)), daemon=True,
            name="xenscrub-lock",
        )  # fmt: skip
        self._ended.clear()
        self._renewal.start()
        try:
            self._await(process)
        except BaseException:
            self._drop()
            raise

    def _await(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None  # noqa: S101 - start_program promises pipes
        assert process.stderr is not None  # noqa: S101 - as above
        name = self._host.name
        for line in process.stdout:
            try:
                answer = json.loads(line)
            except ValueError:
                continue  # a login banner
            if "waiting" in answer:
                self._say(f"{name}: waiting for {describe(answer['waiting'])}")
            elif "busy" in answer:
                raise HostLockedError(
                    f"{name} is in use by {describe(answer['busy'])}",
                    todo="wait for it (--xen-lock-wait=S), or name another host",
                )
            else:
                if answer["locked"]:
                    dead = describe(answer["locked"])
                    self._say(f"{name}: taken over from a run that is dead, {dead}")
                return
        raise InfrastructureError(
            f"{name} could not be locked",
            tried=PATH,
            todo="dom0 needs python3, and its root file system must be writable",
            evidence={"dom0": process.stderr.read().decode(errors="replace")},
        )

    def again(self) -> None:
        """Take the lock again after a reboot, or if its connection may be lost.

        Raises:
            HostLockedError: another run has taken the lock meanwhile.
            InfrastructureError: as for `acquire`.
        """
        self.acquire(_OWN_SECONDS)

    def _renew(self, process: subprocess.Popen[bytes], request: str) -> None:
        assert process.stdin is not None  # noqa: S101 - start_program promises pipes
        line = request
        with contextlib.suppress(OSError, ValueError):
            while True:
                process.stdin.write(line.encode() + b"\n")
                process.stdin.flush()
                line = "alive"
                if self._ended.wait(RENEW_SECONDS):
                    return

    def release(self) -> None:
        """Release the lock. Never raises; may be called twice."""
        process = self._process
        if process is not None and process.poll() is None:
            self._end_renewal()
            assert process.stdin is not None  # noqa: S101 - as above
            with contextlib.suppress(OSError, ValueError):
                process.stdin.write(b"release\n")
                process.stdin.flush()
            end = time.monotonic() + _OWN_SECONDS
            while process.poll() is None and time.monotonic() < end:
                time.sleep(0.02)
        self._drop()

    def _end_renewal(self) -> None:
        self._ended.set()
        if self._renewal is not None:
            self._renewal.join(5)

    def _drop(self) -> None:
        """Close this end of the connection, which ends the locker in dom0."""
        self._end_renewal()
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
