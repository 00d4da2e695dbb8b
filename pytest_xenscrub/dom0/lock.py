# SPDX-License-Identifier: MIT
"""The lock on a machine: one run at a time, and everyone can see whose it is."""

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
"""In dom0, where a reboot does not remove it; gone when its run has ended in order."""
GRACE_SECONDS = 120.0
"""For so long after dom0's start a machine is that run's which had it before."""
SILENCE_SECONDS = 90.0
"""After so long without a word a run counts as gone, though its connection may still stand."""
RENEW_SECONDS = 15.0
_OWN_SECONDS = 15.0
"""For the end of our own old lock, and of others' looks at it, after a connection was lost."""


@dataclass(frozen=True)
class Holder:
    """Who has a machine, for those who wait for it.

    Attributes:
        tag: the run's; begins the name of all that it makes.
        owner: the user's name.
        machine: where the run was started.
        since: when, as text.
        purpose: what for: a CI job's address, or a folder.
    """

    tag: str
    owner: str
    machine: str
    since: str
    purpose: str


def describe(holder: Mapping[str, Any] | None) -> str:
    """One line on who has a machine, of what the lock's file says."""
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
        host: the machine; its own connection, which the lock ends with.
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
        """Whether this run has the lock, as far as is known here."""
        return self._process is not None and self._process.poll() is None

    def acquire(self, wait_seconds: float) -> None:
        """Get it; a dead run's is taken over.

        Args:
            wait_seconds: how long to wait for another run, s.

        Raises:
            HostLockedError: another run has it; says who.
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
        """Get it again after a reboot, or where its connection may be lost.

        Raises:
            HostLockedError: another run has got it in between.
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
        """Close this end of the connection; the locker in dom0 then ends by itself."""
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
