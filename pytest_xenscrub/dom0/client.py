# SPDX-License-Identifier: MIT
"""The client of the agent: dom0's clock, Xen's memory and log, commands timed in dom0."""

from __future__ import annotations

import contextlib
import itertools
import json
import threading
import time
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, field
from importlib.resources import files
from typing import TYPE_CHECKING, Any
from uuid import UUID

from pytest_xenscrub.deadline import Deadline
from pytest_xenscrub.errors import CommandError, HostStalledError, InfrastructureError

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Sequence

    from pytest_xenscrub.host.protocol import Host

# A call that only looks at Xen takes a millisecond; one that takes this long will never end.
LOOK_SECONDS = 20.0

# Reads the agent itself from stdin, so that nothing has to be installed or cleaned up in dom0.
BOOTSTRAP = "import sys; exec(compile(sys.stdin.buffer.read({size}), 'xenscrub-agent', 'exec'))"


@dataclass(frozen=True)
class XenInfo:
    """Which Xen runs, on what.

    Attributes:
        version: "4.17.7".
        debug: whether it was built with CONFIG_DEBUG: then freed pages are filled with 0xC2.
        build_id: the build id in hex; empty where the build has none.
        command_line: Xen's own.
        total_bytes: the machine's memory.
        cpus: its physical CPUs.
        nodes: its NUMA nodes.
    """

    version: str
    debug: bool
    build_id: str
    command_line: str
    total_bytes: int
    cpus: int
    nodes: int

    @property
    def clean_byte(self) -> int:
        """What Xen scrubs with: zeros, or 0xC2 in a debug build (`SCRUB_BYTE_PATTERN`)."""
        return 0xC2 if self.debug else 0x00


@dataclass(frozen=True)
class DomainInfo:
    """A domain as Xen sees it; `dying` is the d of `xl list`'s `--p--d`."""

    domid: int
    uuid: UUID
    memory_bytes: int
    dying: bool
    shutdown: bool
    shutdown_reason: int
    paused: bool
    cpu_seconds: float


@dataclass(frozen=True)
class TimedResult:
    """A command that was run in dom0, with dom0's monotonic clock around it, s."""

    argv: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str
    issued: float
    returned: float
    hung: bool = False

    @property
    def seconds(self) -> float:
        """From issued to returned, s."""
        return self.returned - self.issued

    def check(self) -> TimedResult:
        """Raise `CommandError` unless it ended with 0."""
        if self.returncode != 0:
            raise CommandError(
                f"{' '.join(self.argv[:3])}: ended with {self.returncode}",
                tried=" ".join(self.argv),
                evidence={"stdout": self.stdout[-2000:], "stderr": self.stderr[-2000:]},
            )
        return self


@dataclass(frozen=True)
class Reclaim:
    """How a domain's memory came back: moments on dom0's clock, s; None for what was not seen.

    Attributes:
        issued: the end of the domain was asked for.
        returned: the toolstack returned; None where no command ended the domain.
        gone: the domain is in no list any more.
        free: free memory has grown by all that the domain had.
        clean: the backlog is 0.
        command: the command that ended it.
        samples: (at, free bytes, "alive", "dying" or "").
        backlog: (at, pages not scrubbed yet).
    """

    issued: float
    returned: float | None
    gone: float | None
    free: float | None
    clean: float | None
    command: TimedResult | None
    samples: list[tuple[float, int, str]] = field(repr=False)
    backlog: list[tuple[float, int]] = field(repr=False)


class Dom0:
    """The agent in a host's dom0. Thread-safe: each request is answered on its own."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self._ids = itertools.count()
        self._lock = threading.Lock()
        self._waiting: dict[int, Future[Any]] = {}
        self._latest_beat = time.monotonic()
        self._worst_stall = 0.0
        self._end: str | None = None
        source = (files(__package__) / "agent.py").read_bytes()
        self._process: subprocess.Popen[bytes] = host.popen(
            ["python3", "-u", "-c", BOOTSTRAP.format(size=len(source))]
        )
        assert self._process.stdin is not None  # noqa: S101 - host.popen promises pipes
        with contextlib.suppress(OSError):  # the reader thread says why it went away
            self._process.stdin.write(source)
            self._process.stdin.flush()
        self._reader = threading.Thread(target=self._read, name="xenscrub-dom0", daemon=True)
        self._reader.start()
        self.info()

    # -- the line protocol --------------------------------------------------------------------

    def _read(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 - as above
        end = "the connection to dom0 was closed"
        for line in self._process.stdout:
            try:
                message = json.loads(line)
            except ValueError:
                continue  # a login banner, or a profile script that prints
            if "beat" in message:
                self._beat(message["late"])
            elif "fatal" in message:
                end = f"dom0's Python has no Xen bindings (xen.lowlevel.xc): {message['fatal']}"
            else:
                with self._lock:
                    future = self._waiting.pop(message["id"], None)
                if future is not None and "error" in message:
                    future.set_exception(
                        InfrastructureError(f"the agent in dom0 failed: {message['error']}")
                    )
                elif future is not None:
                    future.set_result(message["ok"])
        with self._lock:
            self._end = end
            waiting, self._waiting = self._waiting, {}
        for future in waiting.values():
            future.set_exception(self._lost())

    def _beat(self, late: float) -> None:
        now = time.monotonic()
        with self._lock:
            silent = now - self._latest_beat
            self._latest_beat = now
            # What dom0 overslept by its own clock, or how long we heard nothing: the network and
            # a hung dom0 look alike from here, and neither is a host that responds.
            self._worst_stall = max(self._worst_stall, late, silent)

    def _lost(self) -> InfrastructureError | HostStalledError:
        if self._end is not None and "bindings" in self._end:
            return InfrastructureError(
                self._end,
                tried="import xen.lowlevel.xc",
                todo="install them in dom0: Debian has them in xen-utils, Fedora in xen-runtime;"
                " a Xen from source installs them with `make install-tools`",
            )
        stderr = b""
        if self._process.poll() is not None and self._process.stderr is not None:
            stderr = self._process.stderr.read() or b""
        return HostStalledError(
            f"{self.host.name}: {self._end or 'dom0 does not answer'}",
            evidence={
                "ssh": stderr.decode(errors="replace"),
                "serial log": self.host.serial_tail(),
            },
            todo="look at the serial log: did Xen crash, or dom0?",
        )

    def _call(self, op: str, deadline: Deadline, **arguments: Any) -> Any:
        future: Future[Any] = Future()
        with self._lock:
            if self._end is not None:
                raise self._lost()
            number = next(self._ids)
            self._waiting[number] = future
        line = json.dumps({"id": number, "op": op, **arguments}) + "\n"
        try:
            assert self._process.stdin is not None  # noqa: S101 - as above
            with self._lock:
                self._process.stdin.write(line.encode())
                self._process.stdin.flush()
        except OSError:
            raise self._lost() from None
        try:
            return future.result(deadline.remaining)
        except FutureTimeoutError:
            with self._lock:
                self._waiting.pop(number, None)
            raise deadline.error(**{"serial log": self.host.serial_tail()}) from None

    def _look(self, op: str, what: str, **arguments: Any) -> Any:
        return self._call(
            op, Deadline.after(LOOK_SECONDS, f"{self.host.name}: {what}"), **arguments
        )

    # -- what it tells ------------------------------------------------------------------------

    def info(self) -> XenInfo:
        """Which Xen runs."""
        facts = self._look("info", "reading Xen's version")
        extra = facts["xen_extra"]
        return XenInfo(
            version=f"{facts['xen_major']}.{facts['xen_minor']}{extra}",
            debug="debug=y" in self._debug_word(),
            build_id=facts["build_id"],
            command_line=facts["xen_commandline"],
            total_bytes=facts["total_bytes"],
            cpus=facts["cpus"],
            nodes=facts["nodes"],
        )

    def free_bytes(self) -> int:
        """Free memory as Xen counts it, bytes; pages that wait for their scrub are in it."""
        return int(self._look("memory", "reading free memory")["free_bytes"])

    def backlog_pages(self) -> int:
        """Pages that are free and not scrubbed yet, on all nodes (debug key H)."""
        nodes = self._look("backlog", "reading the backlog (debug key H)")["nodes"]
        return sum(nodes.values())

    def domains(self) -> list[DomainInfo]:
        """Every domain, dying ones too."""
        return [
            DomainInfo(**{**domain, "uuid": UUID(domain["uuid"])})
            for domain in self._look("domains", "listing domains")
        ]

    def xen_log(self, lines: int = 20) -> str:
        """The last lines of Xen's log, without the heap dumps that we asked for ourselves."""
        return "\n".join(self._look("log", "reading Xen's log", lines=lines))

    # -- what it does -------------------------------------------------------------------------

    def write(self, path: str, text: str) -> None:
        """Write a text file in dom0, with its folder."""
        self._look("write", f"writing {path}", path=path, text=text)

    def run(self, argv: Sequence[str], *, deadline: Deadline) -> TimedResult:
        """Run a command in dom0, timed there; what hangs is killed there and is an error here."""
        # The agent's own limit comes first, so that it can kill the command's whole group.
        answer = self._call(
            "run", deadline,
            argv=list(argv), timeout=max(0.1, deadline.remaining - 1),
        )  # fmt: skip
        result = TimedResult(tuple(argv), **answer)
        if result.hung:
            raise deadline.error(**self.evidence())
        return result

    def reclaim(
        self, domid: int, argv: Sequence[str] | None, *, wait_clean: bool, deadline: Deadline
    ) -> Reclaim:
        """End a domain with a command, or let it end, and watch its memory come back.

        Args:
            domid: the domain.
            argv: the command that ends it; None where something else does.
            wait_clean: watch until the backlog is 0; otherwise until all memory is free.
            deadline: when to stop watching: what had not come by then is None in the result.
        """
        answer = self._call(
            "reclaim", deadline,
            domid=domid, argv=None if argv is None else list(argv),
            timeout=max(0.1, deadline.remaining - 2), wait_clean=wait_clean,
        )  # fmt: skip
        command = answer["command"] and TimedResult(tuple(argv or ()), **answer["command"])
        if command is not None and command.hung:
            raise deadline.error(**self.evidence())
        return Reclaim(
            issued=answer["issued"], returned=answer["returned"], gone=answer["gone"],
            free=answer["free"], clean=answer["clean"], command=command,
            samples=[tuple(sample) for sample in answer["samples"]],
            backlog=[tuple(sample) for sample in answer["backlog"]],
        )  # fmt: skip

    def evidence(self) -> dict[str, str]:
        """Xen's and the serial log's last lines, for an error; what cannot be had is left out."""
        logs = {}
        with contextlib.suppress(Exception):
            logs["Xen's log"] = "\n".join(
                self._call("log", Deadline.after(3, "reading Xen's log"), lines=15)
            )
        if not logs.get("Xen's log"):
            logs["serial log"] = self.host.serial_tail()
        return logs

    # -- its heartbeat ------------------------------------------------------------------------

    def watch_stalls(self) -> None:
        """Forget the stalls seen so far."""
        with self._lock:
            self._worst_stall = 0.0

    def worst_stall(self) -> float:
        """The longest time, s, that dom0 did not respond since `watch_stalls()`."""
        with self._lock:
            return max(self._worst_stall, time.monotonic() - self._latest_beat)

    @property
    def alive(self) -> bool:
        """Whether the connection still stands."""
        return self._end is None

    def _debug_word(self) -> str:
        """`debug=y` or `debug=n` as Xen's banner has it; `xl info` does not show it."""
        log = self._look("log", "reading Xen's log", lines=2000)
        return next((word for line in log for word in line.split() if word[:6] == "debug="), "")

    def close(self) -> None:
        """End the agent; commands of ours that still run in dom0 are killed by it."""
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        try:
            self._process.wait(5)
        except Exception:  # whatever holds it: it must not outlive us
            self._process.kill()
            self._process.wait(5)
        self._reader.join(5)
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()
