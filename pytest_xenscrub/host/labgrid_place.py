# SPDX-License-Identifier: MIT
"""Queues for a labgrid place, acquires it, describes it as a host, and releases it."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_xenscrub.errors import (
    DeadlineExceededError,
    HostLockedError,
    InfrastructureError,
    XenScrubError,
)
from pytest_xenscrub.host.boot_log import LINES
from pytest_xenscrub.host.description import HostDescription
from pytest_xenscrub.host.labgrid import Labgrid, literal
from pytest_xenscrub.host.labgrid_owner import Alive, Guard, release_dead
from pytest_xenscrub.host.target import Target

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_xenscrub.host.labgrid import Place, Reserved
    from pytest_xenscrub.telling import Say

_POWER: Final = "{action:status=get}"
_YES: Final = frozenset({"yes", "true", "on", "1"})
_READERS: Final = ("microcom", "telnet")
"""Programs that labgrid's console can use; it takes the first that is installed."""
_LEAST_WAIT: Final = 2.0


class LabgridPlace:
    """A labgrid place for this run; may be taken and released several times.

    Args:
        described: the tags that the place must have, and the user's options for it.
        listed: the hosts of the user's file; an entry with the place's name wins over labgrid.
        program: labgrid's program.
        tag: the run's tag.
        say: prints a line for the user.
    """

    def __init__(
        self,
        described: HostDescription,
        *,
        listed: Sequence[HostDescription],
        program: str,
        tag: str,
        say: Say,
    ) -> None:
        self._described = described
        self._listed = {host.name: host for host in listed}
        self._labgrid = Labgrid(program, tag)
        self._say = say
        self._turn: Reserved | None = None
        self._alive: Alive | None = None
        self._guard: Guard | None = None
        self._console: _Console | None = None

    def take(self, wait_seconds: float) -> HostDescription:
        """Acquire a suitable place; a later call continues the same turn in the queue.

        Args:
            wait_seconds: longest wait for other runs, s.

        Returns:
            The machine, under the place's name.

        Raises:
            HostLockedError: others have all suitable places; the error says who.
            InfrastructureError: there is no such place, or it cannot be used.
        """
        turn = self._queue(wait_seconds)
        try:
            self._acquire(turn)
            return self._described_as(turn.place)
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Release the place. Never raises, may be called twice."""
        console, self._console = self._console, None
        guard, self._guard = self._guard, None
        alive, self._alive = self._alive, None
        if console is not None:
            console.close()
        given = True
        if guard is not None:
            try:
                guard.release()
            except XenScrubError as error:
                given = False
                self._say(str(error))
        if alive is not None:
            alive.end(forget=given)

    def leave(self) -> None:
        """Release the place, and leave the queue. Never raises, may be called twice."""
        self.release()
        turn, self._turn = self._turn, None
        if turn is not None:
            # A reservation that cannot be cancelled ends a minute after its last wait.
            with contextlib.suppress(XenScrubError):
                self._labgrid.run("leaving its queue", "cancel-reservation", turn.token)

    # -- its turn -----------------------------------------------------------------------------

    def _queue(self, wait_seconds: float) -> Reserved:
        """Wait for the run's turn in the queue."""
        if self._turn is None:
            suiting = self._suiting()
            turn = self._turn = self._labgrid.reserve(self._described.place)
            if turn.state == "waiting" and wait_seconds > 0:
                self._say(f"{self._described.name}: waiting for {_who_has(suiting)}")
        turn = self._turn
        if turn.state == "waiting" and wait_seconds > 0:
            try:
                # At least as long as the program needs to start.
                turn = self._labgrid.wait(turn.token, max(wait_seconds, _LEAST_WAIT))
            except DeadlineExceededError:
                raise self._locked() from None
            except BaseException:
                self.leave()
                raise
        if turn.state == "waiting":
            raise self._locked()
        if turn.state != "allocated":
            self.leave()
            raise InfrastructureError(
                f"labgrid's reservation {turn.token} is {turn.state}",
                tried=f"labgrid-client reserve {' '.join(self._described.place)}",
                todo="was the place deleted, or the coordinator started anew? run again",
            )
        self._turn = turn
        return turn

    def _suiting(self) -> list[Place]:
        """The places with the wanted tags, free or not."""
        places = self._labgrid.places()
        if release_dead(self._labgrid, places, self._say):
            places = self._labgrid.places()
        wanted = frozenset(self._described.place)
        suiting = [place for place in places if wanted <= place.tags]
        if not suiting:
            there = {
                place.name: ", ".join(sorted(place.tags - {f"name={place.name}"})) or "no tags"
                for place in places
            }
            raise InfrastructureError(
                f"labgrid has no place with {', '.join(sorted(wanted))}",
                tried="labgrid-client -v places",
                todo="create it there, or ask for one that is there",
                evidence=there or {"labgrid": "it has no places at all"},
            )
        return suiting

    def _locked(self) -> HostLockedError:
        wanted = frozenset(self._described.place)
        with_it = [place for place in self._labgrid.places() if wanted <= place.tags]
        return HostLockedError(
            f"{self._described.name} is in use: {_who_has(with_it)}",
            todo="wait for it (--xen-lock-wait=S); one that is held for nothing is freed by"
            " labgrid-client -p PLACE release --kick",
        )

    def _acquire(self, turn: Reserved) -> None:
        """Acquire the place, and cancel the reservation that led to it."""
        self._alive = Alive(self._labgrid.owner)
        self._guard = Guard(self._labgrid, turn.place)
        try:
            self._labgrid.run(f"acquiring {turn.place}", "-p", turn.place, "acquire")
        except BaseException:
            self.leave()
            raise
        self._turn = None
        with contextlib.suppress(InfrastructureError):  # a reservation ends with its place
            self._labgrid.run("leaving its queue", "cancel-reservation", turn.token)
        self._say(f"{self._described.name}: {turn.place} is acquired as {self._labgrid.owner}")

    # -- what it is -----------------------------------------------------------------------------

    def _described_as(self, name: str) -> HostDescription:
        """Describe the place as a host; the hosts file takes precedence over labgrid."""
        own = self._listed.get(name, HostDescription(name, Target(name)))
        if own.broken:
            raise InfrastructureError(
                f"labgrid's place {name} is out of use: {own.broken}",
                todo=f"ask for tags that it has not: labgrid-client -p {name} set-tags; one that is"
                " well again has no line `broken` in the hosts file",
            )
        resources = self._labgrid.resources(name)
        target = self._target(name, own, resources.get("NetworkService"))
        (place,) = (each for each in self._labgrid.places() if each.name == name)
        return dataclasses.replace(
            own,
            target=target,
            power=own.power or self._described.power or self._power(name),
            serial=own.serial or self._described.serial or self._serial(name, resources),
            tags=own.tags | _tags(place.tags),
        )

    def _target(self, name: str, own: HostDescription, service: dict[str, Any] | None) -> Target:
        """The address that ssh connects to."""
        assert own.target is not None  # noqa: S101 - hosts of a file have one
        if service is None and name not in self._listed:
            raise InfrastructureError(
                f"labgrid's place {name} has no NetworkService, which tells where its dom0 is",
                tried=f"labgrid-client -p {name} show",
                todo=f"export one, or say it in --xen-hosts-file: [hosts.{name}]",
            )
        service = service or {}
        return Target(
            own.target.host if own.target.host != name else service.get("address") or name,
            own.target.user or service.get("username") or None,
            own.target.port or service.get("port") or None,
        )

    def _power(self, name: str) -> tuple[str, ...]:
        """The command that switches the place's power; empty if no resource of the place can."""
        # Only labgrid knows which of its resources have power.
        try:
            self._labgrid.run(f"asking for the power of {name}", "-p", name, "power", "get")
        except InfrastructureError as error:
            if "no compatible resource" not in str(error):
                raise
            return ()
        return (*literal(self._labgrid.command("-p", name, "power")), _POWER)

    def _serial(self, name: str, resources: dict[str, dict[str, Any]]) -> tuple[str, ...]:
        """The command that prints the serial console's output since the place was acquired."""
        if "NetworkSerialPort" not in resources:
            return ()
        if not any(map(shutil.which, _READERS)):
            self._say(
                f"{name}: its serial console is not read, as labgrid needs {_READERS[0]} for it:"
                f" apt-get install {_READERS[0]}"
            )
            return ()
        self._console = _Console(self._labgrid.command("-p", name, "console", "-o", "-l"))
        return ("tail", "-n", str(LINES), *literal([str(self._console.log)]))


class _Console:
    """A serial console, which labgrid's program writes to a file.

    The program ends by itself when the place is released.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="xenscrub-serial-")
        self.log = Path(self._folder.name) / "serial.log"
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                # A pipe that stays open, because telnet ends at the end of its input.
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def close(self) -> None:
        """End the console's program. Never raises."""
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.communicate(timeout=5)
        self._process.kill()
        self._process.communicate()
        self._folder.cleanup()


def _who_has(places: Sequence[Place]) -> str:
    return ", ".join(map(str, places))


def _tags(tags: frozenset[str]) -> frozenset[str]:
    """Turn a place's tags into a host's tags: `numa=yes` also gives the tag `numa`."""
    return tags | {tag.partition("=")[0] for tag in tags if tag.partition("=")[2] in _YES}
