# SPDX-License-Identifier: MIT
"""The client of the agent: dom0's clock, Xen's memory and log, commands timed in dom0."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import shlex
import subprocess
import threading
import time
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID

from pytest_xenscrub.deadline import Deadline
from pytest_xenscrub.dom0.agent import PARTS
from pytest_xenscrub.dom0.bindings import HEAP_DUMP
from pytest_xenscrub.dom0.program import start_program
from pytest_xenscrub.errors import CommandError, HostStalledError, InfrastructureError
from pytest_xenscrub.units import MIB

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_xenscrub.host.protocol import Host

# A call that only looks at Xen takes a millisecond; one that takes this long will never end.
LOOK_SECONDS = 20.0
CLOCK_LOOKS = 3
"""The fastest answer says best what time it is in dom0."""
# A dom0 that has been silent for so long counts as dead, whatever else may still be waited for.
DEAD_SECONDS = 20.0
SETTLE_SECONDS = 0.3
SETTLE_MOST_SECONDS = 10.0
XEN_HEAP_BYTES = 64 << 10
"""By so much free memory may differ though no page is lost: Xen's own heap grows with the first
guests of a host, by 20 KiB in steps of a page or two over six of them, and not after that."""
DRAIN_POLL_SECONDS = 0.05
# From the end of a connection to that of the ssh that had it: what it complained is read then.
_LAST_WORDS_SECONDS = 1.0
_READER_SECONDS = 5.0

SERIAL_LINES = 400
XEN_FAULT = re.compile(
    r"Assertion '.*' failed|Xen (BUG|WARN) at |FATAL (TRAP|PAGE FAULT)|Panic on CPU|UBSAN: "
)
"""What Xen says of itself when it is in the wrong; a guest's crash is none of it."""
FAULT_LINES = 40

Until = Literal["gone", "free", "clean"]


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
        cpu_model: what they call themselves.
    """

    version: str
    debug: bool
    build_id: str
    command_line: str
    total_bytes: int
    cpus: int
    nodes: int
    cpu_model: str

    @property
    def clean_byte(self) -> int:
        """What Xen scrubs with: zeros, or 0xC2 in a debug build (`SCRUB_BYTE_PATTERN`)."""
        return 0xC2 if self.debug else 0x00

    @property
    def scrubs_all(self) -> bool:
        """Whether this Xen scrubs also what a live guest gives back.

        The option `scrub-domheap` asks for it, and a debug build checks its scrubber by it once it
        has scrubbed all at boot (`bootscrub=1`, CONFIG_SCRUB_DEBUG).
        """
        options = self.command_line.split()
        return "scrub-domheap" in options or (self.debug and "bootscrub=1" in options)


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
    """A command that was run in dom0, with dom0's monotonic clock around it, s.

    Attributes:
        issued: when it was started; for a call of libvirt's, when its daemon got it.
        returned: when it ended; for a call, when its daemon answered.
        hung: whether it was killed because its time was over.
        client_seconds: what a call took as its client here saw it, network and all, on this
            machine's clock; None for a command.
    """

    argv: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str
    issued: float
    returned: float
    hung: bool = False
    client_seconds: float | None = None

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
        backlog: (at, pages not scrubbed yet); the first one from before the end was asked for.
    """

    issued: float
    returned: float | None
    gone: float | None
    free: float | None
    clean: float | None
    command: TimedResult | None
    samples: list[tuple[float, int, str]] = field(repr=False)
    backlog: list[tuple[float, int]] = field(repr=False)


@dataclass(frozen=True)
class _Request:
    """What was asked of the agent; both come from the thread that reads what it says.

    Attributes:
        begun: done once the agent says that it has begun, which only a watch does.
        answer: to be waited for.
    """

    begun: Future[None] = field(default_factory=Future)
    answer: Future[Any] = field(default_factory=Future)

    def fail(self, error: Exception) -> None:
        """The answer is this error, and so is what should have come before it."""
        for future in (self.begun, self.answer):
            if not future.done():
                future.set_exception(error)


class Watch:
    """A reclaim that is under way."""

    def __init__(
        self, dom0: Dom0, argv: tuple[str, ...], answer: Future[Any], deadline: Deadline
    ) -> None:
        self._dom0 = dom0
        self._argv = argv
        self._answer = answer
        self._deadline = deadline

    @property
    def done(self) -> bool:
        """Whether there is nothing left to watch."""
        return self._answer.done()

    def result(self) -> Reclaim:
        """What was seen.

        Raises:
            CommandError: the command failed.
            DeadlineExceededError: the command hung, or dom0 did not answer.
        """
        answer = self._dom0._await(self._answer, self._deadline)
        command = answer["command"] and TimedResult(self._argv, **answer["command"])
        if command is not None:
            if command.hung:
                raise self._deadline.error(**self._dom0.evidence())
            command.check()
        return Reclaim(
            issued=answer["issued"], returned=answer["returned"], gone=answer["gone"],
            free=answer["free"], clean=answer["clean"], command=command,
            samples=[tuple(sample) for sample in answer["samples"]],
            backlog=[tuple(sample) for sample in answer["backlog"]],
        )  # fmt: skip


class Dom0:
    """The agent in a host's dom0. Thread-safe: each request is answered on its own."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self._ids = itertools.count()
        self._lock = threading.Lock()
        self._waiting: dict[int, _Request] = {}
        self._latest_beat = time.monotonic()
        self._worst_stall = 0.0
        self._log_next: int | None = None
        self._end: str | None = None
        self._last_words = b""
        self._last_command = ""
        self._process = start_program(host, "agent", parts=PARTS)
        self._reader = threading.Thread(target=self._read, name="xenscrub-dom0", daemon=True)
        self._reader.start()
        try:
            self.info()
        except BaseException:
            self.close()
            raise

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
                self._hear(message)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_LAST_WORDS_SECONDS)
            assert self._process.stderr is not None  # noqa: S101 - as above
            self._last_words = self._process.stderr.read()
        with self._lock:
            self._end = end
            waiting, self._waiting = self._waiting, {}
        for request in waiting.values():
            request.fail(self._lost())

    def _hear(self, message: dict[str, Any]) -> None:
        """What the agent says of a request."""
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
        return HostStalledError(
            f"{self.host.name}: {self._end or 'dom0 does not answer'}",
            evidence={
                "last command": self._last_command,
                "ssh": self._last_words.decode(errors="replace"),
                "serial log": self.serial_tail(),
            },
            todo="look at the serial log: did Xen crash, or dom0?",
        )

    def _submit(self, op: str, **arguments: Any) -> _Request:
        request = _Request()
        if argv := arguments.get("argv"):
            self._last_command = shlex.join(argv)
        with self._lock:
            if self._end is not None:
                raise self._lost()
            number = next(self._ids)
            self._waiting[number] = request
        line = json.dumps({"id": number, "op": op, **arguments}) + "\n"
        try:
            assert self._process.stdin is not None  # noqa: S101 - as above
            with self._lock:
                self._process.stdin.write(line.encode())
                self._process.stdin.flush()
        except OSError:
            raise self._lost() from None
        return request

    def _await(self, future: Future[Any], deadline: Deadline) -> Any:
        while True:
            with contextlib.suppress(FutureTimeoutError):
                return future.result(min(deadline.remaining, DEAD_SECONDS / 8))
            # An answer that comes later finds its future, which nobody looks at any more.
            if deadline.passed:
                raise deadline.error(**{"serial log": self.serial_tail()})
            self.check_alive(deadline.step)

    def check_alive(self, step: str) -> None:
        """Raise `HostStalledError` if dom0 has been silent for so long that it will not return."""
        with self._lock:
            silent = time.monotonic() - self._latest_beat
        if silent > DEAD_SECONDS:
            raise HostStalledError(
                f"{self.host.name}: dom0 stopped responding {silent:.0f} s ago, during: {step}",
                todo="a CPU, or all of Xen, hangs: look at the serial log for a stack or a panic",
                evidence={
                    "last command": self._last_command,
                    "CPUs": self.host.where_cpus_are(),
                    "serial log": self.serial_tail(),
                },
            )

    def _call(self, op: str, deadline: Deadline, **arguments: Any) -> Any:
        return self._await(self._submit(op, **arguments).answer, deadline)

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
            debug=self._is_debug(),
            build_id=facts["build_id"],
            command_line=facts["xen_commandline"],
            total_bytes=facts["total_bytes"],
            cpus=facts["cpus"],
            nodes=facts["nodes"],
            cpu_model=facts["cpu_model"],
        )

    def ping(self, deadline: Deadline) -> None:
        """Return once dom0 answers; raises if it does not."""
        self._call("memory", deadline)

    def clock_offset(self) -> float:
        """dom0's monotonic clock less this machine's, s; good to half a round trip of a request."""
        found = []
        for _ in range(CLOCK_LOOKS):
            before = time.monotonic()
            at = self._look("memory", "reading its clock")["at"]
            after = time.monotonic()
            found.append((after - before, at - (before + after) / 2))
        return float(min(found)[1])

    def free_bytes(self) -> int:
        """Free memory as Xen counts it, bytes; pages that wait for their scrub are in it."""
        return int(self._look("memory", "reading free memory")["free_bytes"])

    def free_bytes_of_nodes(self) -> dict[int, int]:
        """The same per NUMA node, rounded down to whole MiB."""
        told = self._look("memory_of_nodes", "reading free memory of NUMA nodes")["free_mib"]
        return {node: mib * MIB for node, mib in enumerate(told)}

    def settled_free_bytes(self) -> int:
        """Free memory once it has not changed for a while, bytes.

        Xen frees a dead domain's own structures only after all CPUs have passed a quiet state
        (RCU), some time after its memory.
        """
        end = time.monotonic() + SETTLE_MOST_SECONDS
        free, since = self.free_bytes(), time.monotonic()
        while (now := time.monotonic()) < end and now - since < SETTLE_SECONDS:
            time.sleep(DRAIN_POLL_SECONDS)
            if (latest := self.free_bytes()) != free:
                free, since = latest, time.monotonic()
        return free

    def claimed_bytes(self) -> int:
        """Memory that is promised to guests that are being built (claims), bytes."""
        deadline = Deadline.after(LOOK_SECONDS, f"{self.host.name}: xl info")
        info = self.run(["xl", "info"], deadline=deadline).check().stdout
        found = re.search(r"^outstanding_claims\s*:\s*(\d+)", info, re.MULTILINE)
        if found is None:
            raise InfrastructureError(
                f"{self.host.name}: xl info does not tell of claims", evidence={"xl info": info}
            )
        return int(found[1]) << 20

    def backlog_pages(self) -> int:
        """Pages that are free and not scrubbed yet, on all nodes (debug key H)."""
        return sum(self.backlog_of_nodes().values())

    def backlog_of_nodes(self) -> dict[int, int]:
        """The same per NUMA node; those that have none are left out."""
        nodes = self._look("backlog", "reading the backlog (debug key H)")["nodes"]
        return {int(node): pages for node, pages in nodes.items()}

    def nodes(self) -> dict[int, range]:
        """The host's NUMA nodes, and the frames (MFNs) from each one's first to its last.

        Of these a node need not have all: there are holes.
        """
        nodes = self._look("nodes", "reading the NUMA nodes (debug key u)")["nodes"]
        return {node: range(start, start + size) for node, start, size in nodes}

    def domains(self) -> list[DomainInfo]:
        """Every domain, dying ones too."""
        return [
            DomainInfo(**{**domain, "uuid": UUID(domain["uuid"])})
            for domain in self._look("domains", "listing domains")
        ]

    def xen_log(self, lines: int = 20) -> str:
        """The last lines of Xen's log, without the heap dumps that we asked for ourselves."""
        return "\n".join(self._look("log", "reading Xen's log", lines=lines))

    def watch_log(self) -> None:
        """Begin a new page: `faults` tells of what Xen's log says from now on."""
        self._log_next = self._look("log_from", "reading Xen's log", first=None)["next"]

    def faults(self) -> str:
        """What Xen's log says of a fault of its own since `watch_log()`, from that line on."""
        lines = self._look("log_from", "reading Xen's log", first=self._log_next)["lines"]
        first = next((at for at, line in enumerate(lines) if XEN_FAULT.search(line)), len(lines))
        return "\n".join(lines[first : first + FAULT_LINES])

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

    def pin_vcpus(self, domid: int, vcpus: int) -> None:
        """Bind each of a domain's vCPUs to a CPU of its own: the scheduler has no choice."""
        self._look("pin", f"pinning the vCPUs of domain {domid}", domid=domid, vcpus=vcpus)

    def yield_cpus(self, domid: int) -> None:
        """Give a domain's vCPUs the least weight: they run, and step aside for all others.

        A scheduler that knows no weights (null, RTDS) leaves it as it is.
        """
        self._look("weigh", f"weight of domain {domid}", domid=domid, weight=1)

    def abort(self) -> None:
        """Kill the commands that still run in dom0, and return once they have ended."""
        self._look("abort", "ending commands")

    def crash(self, domid: int) -> None:
        """Crash a domain from outside."""
        self._look("crash", f"crashing domain {domid}", domid=domid)

    def reclaim(
        self, domid: int, argv: Sequence[str] | None, *, until: Until, deadline: Deadline
    ) -> Reclaim:
        """End a domain with a command and watch its memory come back; see `watch`."""
        return self.watch(domid, argv, until=until, deadline=deadline).result()

    def watch(
        self, domid: int, argv: Sequence[str] | None, *, until: Until, deadline: Deadline
    ) -> Watch:
        """As `reclaim`, without waiting for its end: what the domain has was seen on return.

        Args:
            domid: the domain.
            argv: the command that ends it; None where something else does, from now on.
            until: when to stop watching: the domain is gone, its memory is free, or clean.
            deadline: when to stop at the latest: what had not come by then is None in the result.

        Raises:
            InfrastructureError: there is no such domain.
            DeadlineExceededError: the watch has not begun by then.
            HostStalledError: dom0 does not answer.
        """
        request = self._submit(
            "reclaim",
            domid=domid, argv=None if argv is None else list(argv),
            timeout=max(0.1, deadline.remaining - 2), until=until,
        )  # fmt: skip
        self._await(request.begun, deadline)
        return Watch(self, tuple(argv or ()), request.answer, deadline)

    def wait_drained(self, deadline: Deadline) -> None:
        """Wait until the backlog is 0."""
        while pages := self.backlog_pages():
            if deadline.passed:
                raise deadline.error(backlog=f"{pages} pages", **self.evidence())
            time.sleep(DRAIN_POLL_SECONDS)

    def evidence(self) -> dict[str, str]:
        """Xen's and the serial log's last lines, for an error; what cannot be had is left out."""
        logs = {}
        with contextlib.suppress(Exception):
            logs["Xen's log"] = "\n".join(
                self._call("log", Deadline.after(3, "reading Xen's log"), lines=15)
            )
        if not logs.get("Xen's log"):
            logs["serial log"] = self.serial_tail()
        return logs

    def serial_tail(self, lines: int = 20) -> str:
        """Last lines of the serial log, without the heap dumps that we asked for ourselves."""
        serial = self.host.serial_tail(SERIAL_LINES).splitlines()
        return "\n".join([line for line in serial if not HEAP_DUMP.search(line)][-lines:])

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

    def _is_debug(self) -> bool:
        """`debug=y` or `debug=n` of Xen's banner; `xl info` does not show it.

        The banner may have left the log long ago: then a register dump repeats it (key d).
        """
        for ask in (False, True):
            if ask:
                self._look("debug_key", "debug key d", key="d")
            log = "\n".join(self._look("log", "reading Xen's log", lines=2000))
            if words := re.findall(r"\bdebug=([yn])\b", log):
                return bool(words[-1] == "y")
        raise InfrastructureError(
            f"{self.host.name}: cannot tell whether Xen is a debug build, and so what it scrubs"
            " with: neither its banner nor a register dump says so",
            tried="Xen's log, debug key d",
            evidence=self.evidence(),
        )

    def close(self, grace: float = 5.0) -> None:
        """End the agent; commands of ours that still run in dom0 are killed by it.

        Args:
            grace: how long it may take to do that, s; 0 if dom0 is known to be gone.
        """
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        try:
            self._process.wait(grace)
        except Exception:  # whatever holds it: it must not outlive us
            self._process.kill()
            self._process.wait(5)
        self._reader.join(_READER_SECONDS)
        if self._reader.is_alive():
            return  # an ssh master that is stopped holds the pipes: to close them would hang
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()
