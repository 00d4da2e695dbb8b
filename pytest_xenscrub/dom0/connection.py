# SPDX-License-Identifier: MIT
"""The connection to the agent: sends requests, receives answers, and notices a silent dom0."""

from __future__ import annotations

import contextlib
import itertools
import json
import shlex
import subprocess
import threading
import time
from collections import deque
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import TYPE_CHECKING, Any

from pytest_xenscrub.deadline import Deadline
from pytest_xenscrub.dom0.messages import Request, Stall
from pytest_xenscrub.dom0.program import start_program
from pytest_xenscrub.dom0.sent.agent import PARTS
from pytest_xenscrub.dom0.serial import LINES, telling
from pytest_xenscrub.dom0.silence import is_emulated, silent
from pytest_xenscrub.errors import HostLostError, InfrastructureError, XenScrubError
from pytest_xenscrub.host.outside import kept, starvation

if TYPE_CHECKING:
    from concurrent.futures import Future

    from pytest_xenscrub.errors import HostSilentError, HostStalledError
    from pytest_xenscrub.host.protocol import Host

# A look at Xen takes a millisecond; one that takes this long will never end.
LOOK_SECONDS = 60.0
# A dom0 that is silent for so long counts as dead, whatever the deadline of the present step.
DEAD_SECONDS = 20.0
# Limit for dom0's first heartbeat, because its Python may have to be read from a cold disk.
_FIRST_SECONDS = 60.0
# dom0 sends a heartbeat every quarter of a second; within this time it does not count as silent.
_HEARD_SECONDS = 2.0
# Limit for ssh to end after its connection ended, so that its messages can be read.
_LAST_WORDS_SECONDS = 1.0
_READER_SECONDS = 10.0
_ANSWER_SECONDS = 5.0
_KEPT_BEATS = 4096
"""A quarter of an hour of heartbeats: a CPU's own delay may have begun before the last one."""
_SAME_SECONDS = 1e-6
_GIVES_UP_SECONDS = 25.0
"""ssh gives a silent connection up after 30 s; a connection that ended earlier had another
reason."""


class Connection:
    """The agent in a host's dom0. Thread-safe: each request has its own answer.

    Attributes:
        host: the host.
    """

    def __init__(self, host: Host) -> None:
        self.host = host
        self._ids = itertools.count()
        self._lock = threading.Lock()
        self._waiting: dict[int, Request] = {}
        self._latest_beat = time.monotonic()
        self._beats: deque[tuple[float, float]] = deque(maxlen=_KEPT_BEATS)
        self._starved_seconds = kept(host)
        self._starved = self._starved_seconds()
        # The agent is told only about starvation: dom0's own clock stops while the host is stopped.
        self._starved_in_dom0 = starvation(host)
        self._told_starved = self._starved_in_dom0()
        self._worst_stall = Stall(0.0, 0.0)
        self._log_before = host.serial_tail(LINES)
        self._end: str | None = None
        self._silence = Stall(0.0, 0.0)
        self._answers = False
        self._closing = False
        self._last_words = b""
        self._last_command = ""
        self._process = start_program(host, "agent", parts=PARTS)
        self._reader = threading.Thread(target=self._read, name="xenscrub-dom0", daemon=True)
        self._reader.start()

    # -- the line protocol --------------------------------------------------------------------

    def _read(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 - host.popen promises pipes
        end = "the connection to dom0 was closed"
        for line in self._process.stdout:
            try:
                message = json.loads(line)
            except ValueError:
                continue  # a login banner, or output of a profile script
            if "beat" in message:
                self._beat(message["late"])
            elif "fatal" in message:
                end = f"dom0's Python has no Xen bindings (xen.lowlevel.xc): {message['fatal']}"
            else:
                self._hear(message)
        silence = self._silent()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_LAST_WORDS_SECONDS)
            assert self._process.stderr is not None  # noqa: S101 - as above
            self._last_words = self._process.stderr.read()
        if not self._closing and "bindings" not in end:
            # Without the lock, because the question takes a while.
            self._answers = self._dom0_answers()
        with self._lock:
            self._end, self._silence = end, silence
            waiting, self._waiting = self._waiting, {}
        for request in waiting.values():
            request.fail(self._lost())

    def _hear(self, message: dict[str, Any]) -> None:
        """Handle the agent's message about a request."""
        is_begun = "begun" in message
        with self._lock:
            request = self._waiting.get(message["id"])
            if not is_begun:
                self._waiting.pop(message["id"], None)
        if request is None:
            return
        if is_begun:
            request.begun.set_result(None)
        elif "error" in message:
            request.fail(InfrastructureError(f"the agent in dom0 failed: {message['error']}"))
        else:
            request.answer.set_result(message["ok"])

    def _lost(self) -> InfrastructureError | HostStalledError | HostSilentError:
        outside = self.host.outside
        if outside is not None and (why := outside.why_ended()) is not None:
            return why
        if self._end is not None and "bindings" in self._end:
            return InfrastructureError(
                self._end,
                tried="import xen.lowlevel.xc",
                todo="install them in dom0: Debian has them in xen-utils, Fedora in xen-runtime;"
                " a Xen from source installs them with `make install-tools`",
            )
        if self._answers:
            return HostLostError(
                f"{self.host.name}: {self._end}, but dom0 answers on another connection",
                todo="was ssh killed on this machine, or the agent (python3) in dom0?",
                evidence={
                    "last command": self._last_command,
                    "ssh": self._last_words.decode(errors="replace"),
                },
            )
        # If ssh gave up by its own timeout, the host may have been starved or stopped.
        seconds, starved = self._silence
        gave_up = seconds + starved >= _GIVES_UP_SECONDS
        return silent(
            self.host,
            f"{self.host.name}: {self._end or 'dom0 does not answer'}",
            log_before=self._log_before,
            seconds=seconds + starved if gave_up else 0.0,
            starved=starved if gave_up else 0.0,
            evidence={
                "last command": self._last_command,
                "ssh": self._last_words.decode(errors="replace"),
                "serial log": self.serial_tail(),
            },
        )

    def _dom0_answers(self) -> bool:
        """Whether dom0 answers on another connection after this one ended, so that Xen is fine."""
        try:
            self.host.run(["true"], deadline=Deadline.after(_ANSWER_SECONDS, "dom0's answer"))
        except XenScrubError:
            return False
        return True

    def _submit(self, op: str, **arguments: Any) -> Request:
        request = Request()
        if argv := arguments.get("argv"):
            self._last_command = shlex.join(argv)
        with self._lock:
            if self._end is not None:
                raise self._lost()
            number = next(self._ids)
            self._waiting[number] = request
        try:
            self._say({"id": number, "op": op, **arguments})
        except OSError:
            self._reader.join(_READER_SECONDS)  # the reader finds out why
            raise self._lost() from None
        return request

    def _say(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None  # noqa: S101 - host.popen promises pipes
        with self._lock:
            self._process.stdin.write((json.dumps(message) + "\n").encode())
            self._process.stdin.flush()

    def _tell_starved(self) -> None:
        """Tell the agent how long the host was starved, which the agent cannot see itself."""
        starved = self._starved_in_dom0()
        with self._lock:
            more, self._told_starved = starved - self._told_starved, starved
        if more > 0:
            with contextlib.suppress(OSError):  # the caller that waits for an answer gets the error
                self._say({"id": next(self._ids), "op": "starved", "seconds": more})

    def _await(self, future: Future[Any], deadline: Deadline) -> Any:
        while True:
            with contextlib.suppress(FutureTimeoutError):
                return future.result(min(deadline.remaining, DEAD_SECONDS / 8))
            # If the answer still comes later, it sets a future that is no longer used.
            if deadline.passed:
                raise deadline.error(**{"serial log": self.serial_tail()})
            self.check_alive(deadline.step)
            self._tell_starved()

    def _call(self, op: str, deadline: Deadline, **arguments: Any) -> Any:
        return self._await(self._submit(op, **arguments).answer, deadline)

    def _look(self, op: str, what: str, **arguments: Any) -> Any:
        return self._call(
            op,
            Deadline.for_xen(LOOK_SECONDS, f"{self.host.name}: {what}", self._starved_seconds),
            **arguments,
        )

    # -- its heartbeat ------------------------------------------------------------------------

    def _beat(self, late: float) -> None:
        now, starved = time.monotonic(), self._starved_seconds()
        with self._lock:
            # The agent's `late` is how much dom0, or one of its CPUs, overslept by its own clock.
            # The time since the last heartbeat may include delays of a network, so it counts only
            # for an emulated host.
            stalls = [self._stall(late, now, starved)]
            if is_emulated(self.host):
                stalls.append(self._stall(now - self._latest_beat, now, starved))
            self._worst_stall = max(self._worst_stall, *stalls)
            self._latest_beat, self._starved = now, starved
            self._beats.append((now, starved))

    def _stall(self, seconds: float, now: float, starved: float) -> Stall:
        """The stall of so many seconds until now, less the time for which the host was starved.

        A CPU's own delay may have begun before dom0's last heartbeat.
        """
        before = next(
            (was for at, was in reversed(self._beats) if at <= now - seconds + _SAME_SECONDS),
            self._beats[0][1] if self._beats else self._starved,
        )
        kept = max(0.0, starved - before)
        return Stall(seconds - kept, kept)

    def _silent(self) -> Stall:
        """How long dom0 has been silent."""
        now, starved = time.monotonic(), self._starved_seconds()
        with self._lock:
            kept = self._kept(starved)
            return Stall(now - self._latest_beat - kept, kept)

    def _kept(self, starved: float) -> float:
        """The starvation since the last heartbeat, s.

        At least 0, because an emulated host that has ended reports no starvation at all.
        """
        return max(0.0, starved - self._starved)

    def check_alive(self, step: str) -> None:
        """Raise if dom0 has been silent for so long that it will not answer any more.

        Raises:
            HostStalledError: dom0 hangs.
            HostSilentError: dom0 hangs, or the network fails.
        """
        seconds, starved = self._silent()
        if seconds > (DEAD_SECONDS if self._beats else max(DEAD_SECONDS, _FIRST_SECONDS)):
            outside = self.host.outside
            raise silent(
                self.host,
                f"{self.host.name}: dom0 stopped responding {seconds:.0f} s ago, during: {step}",
                log_before=self._log_before,
                seconds=seconds + starved,
                starved=starved,
                evidence={
                    "last command": self._last_command,
                    "CPUs": "" if outside is None else outside.where_cpus_are(),
                    "serial log": self.serial_tail(),
                },
            )

    def watch_stalls(self) -> None:
        """Forget the stalls seen so far."""
        with self._lock:
            self._worst_stall = Stall(0.0, 0.0)

    def worst_stall(self) -> Stall:
        """The longest time without a response of dom0 since `watch_stalls()`.

        For a real machine, this is how much dom0 overslept by its own clock, which a network does
        not change. Waits first until a present silence ends; raises as `check_alive` does.
        """
        while not is_emulated(self.host) and self._silent().seconds > _HEARD_SECONDS:
            self.check_alive("hearing from dom0")
            time.sleep(_HEARD_SECONDS / 8)
        now = self._silent() if is_emulated(self.host) else Stall(0.0, 0.0)
        with self._lock:
            return max(self._worst_stall, now)

    def stalled_seconds(self) -> float:
        """The longest stall since `watch_stalls()` that has ended or was reported, s."""
        with self._lock:
            return max(0.0, self._worst_stall.seconds)

    @property
    def alive(self) -> bool:
        """Whether the connection is open."""
        return self._end is None

    # -- what was said last -------------------------------------------------------------------

    def evidence(self) -> dict[str, str]:
        """The last lines of Xen's log and of the serial log, as far as available, for an error."""
        logs = {}
        with contextlib.suppress(Exception):
            logs["Xen's log"] = "\n".join(
                self._call("log", Deadline.after(3, "reading Xen's log"), lines=15)
            )
        if not logs.get("Xen's log"):
            logs["serial log"] = self.serial_tail()
        return logs

    def serial_tail(self, lines: int = 20) -> str:
        """The lines of the serial log that tell why the host is gone: see `serial.telling`."""
        return telling(self.host.serial_tail(LINES), lines)

    # -- its end ------------------------------------------------------------------------------

    def close(self, grace: float = 5.0) -> None:
        """End the agent, which kills its commands that still run in dom0.

        Args:
            grace: limit for that, s; 0 if dom0 is known to be gone.
        """
        self._closing = True
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        try:
            self._process.wait(grace)
        except Exception:  # whatever the reason: ssh must not outlive this process
            self._process.kill()
            self._process.wait(5)
        self._reader.join(_READER_SECONDS)
        if self._reader.is_alive():
            return  # closing the pipes would hang if a stopped ssh master holds them
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()
