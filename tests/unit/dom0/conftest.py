# SPDX-License-Identifier: MIT
"""The real agent in a process of its own, with Xen's bindings faked, and clients of it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NoReturn, cast

import pytest

from pytest_xenscrub.deadline import Deadline
from pytest_xenscrub.dom0.client import Dom0
from pytest_xenscrub.errors import HostLostError, InfrastructureError
from pytest_xenscrub.host.protocol import CommandResult

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from pytest_xenscrub.host.protocol import Host

BINDINGS = """
import errno, os, signal, sys, time
from pathlib import Path

class xc:
    def __init__(self):
        self.ring = os.environ["FAKE_LOG"]
        self.dumps = 0
    def xeninfo(self):
        return {"xen_major": 4, "xen_minor": 17, "xen_extra": ".5", "xen_commandline": "x=y"}
    def physinfo(self):
        return {"total_memory": 4096, "free_memory": 1024, "nr_cpus": 2, "nr_nodes": 1,
                "virt_caps": ""}
    def numainfo(self):
        return {"node_memfree": [0, 3]}
    def topologyinfo(self):
        return {"cpu_to_node": [1, 1, None]}
    def buildid(self):
        return "c0ffee"
    def readconsolering(self):
        return self.ring
    def send_debug_keys(self, key):
        if key == "d":
            self.ring += os.environ["FAKE_REGISTERS"]
        elif key == "u":
            self.ring += "NODE0 start->0 size->4096 free->1\\n"
            self.ring += "NODE1 start->4096 size->512 free->1\\n"
        else:
            self.dumps += 1
            self.ring += "'H' pressed -> dumping heap info (now = {})\\n".format(self.dumps)
            if self.dumps < 3:
                self.ring += "Node 0 has {} unscrubbed pages\\n".format(300 // self.dumps)
    def domain_getinfo(self, first, most):
        # One domain is there until its file is gone, and to look at it takes a while.
        there = Path(os.environ["FAKE_DOMAIN"])
        if first == 4 and there.exists():
            time.sleep(0.3)
        elif first:
            raise OSError(errno.ESRCH, "no")
        return [{"domid": first, "handle": [0] * 16, "mem_kb": 512, "dying": 0, "shutdown": 0,
                 "crashed": 0, "paused": 0, "cpu_time": 10 ** 9}]
    def domain_shutdown(self, domid, reason):
        if domid == 1:
            os.kill(os.getpid(), signal.SIGSTOP)
            time.sleep(60)  # which of its threads stops first is anyone's guess
        if domid == 2:
            sys.stderr.write("Connection reset by peer")
            os._exit(255)
        raise OSError(errno.EINVAL, "no such domain")
"""
FREEZE, DIE, REFUSE, THERE = 1, 2, 3, 4
"""Domains that dom0 does not survive, one that there is not, and one that there is for a while."""


class FakeOutside:
    """What is seen of a host from outside."""

    starved = 0.0
    stood = 0.0
    ended: InfrastructureError | None = None

    def starved_seconds(self) -> float:
        return self.starved

    def stood_seconds(self) -> float:
        return self.stood

    def why_ended(self) -> InfrastructureError | None:
        return self.ended

    def where_cpus_are(self) -> str:
        return "CPU 0: free_heap_pages"


class FakeHost:
    """A host whose dom0 is this machine, its Python with bindings from a folder."""

    name = "lab7"
    kind = "emulated (TCG)"

    def __init__(
        self, bindings: Path | None, log: str, registers: str, domain: Path | None = None
    ) -> None:
        self._environment = {
            **os.environ,
            "PYTHONPATH": str(bindings or ""),
            "FAKE_LOG": log,
            "FAKE_REGISTERS": registers,
            "FAKE_DOMAIN": str(domain or "/nowhere"),
        }
        # Before those that may be installed here.
        self._first = (
            "import xen.lowlevel.xc" if bindings else "import sys; sys.modules['xen'] = None"
        )
        self.outside = FakeOutside()
        self.log: str | None = ""
        self.qemu_runs = True
        self.answers = False
        self.processes: list[subprocess.Popen[bytes]] = []

    def popen(self, argv: Sequence[str]) -> subprocess.Popen[bytes]:
        *words, script = argv
        assert words == ["python3", "-u", "-c"]
        pipe = subprocess.PIPE
        process = subprocess.Popen(
            [sys.executable, "-u", "-c", f"{self._first}; {script}"],
            env=self._environment,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
        )
        self.processes.append(process)
        return process

    def run(self, argv: Sequence[str], *, deadline: Deadline) -> CommandResult:
        """On another connection than the agent's."""
        if not self.answers:
            raise HostLostError(deadline.step)
        return CommandResult(tuple(argv), 0, "", "")

    def signal(self, number: int) -> None:
        self.processes[-1].send_signal(number)

    def ssh_command(self, argv: Sequence[str], *, tty: bool = False) -> list[str]:
        if not self.qemu_runs:
            raise InfrastructureError("QEMU has ended")
        return ["ssh", *argv]

    def serial_tail(self, lines: int = 20) -> str:
        if self.log is None:
            return ""
        words = f"(XEN) last words\n'H' pressed -> dumping heap info (now = {lines})"
        return f"{words}\n{self.log}"


class LocalHost:
    """A host whose dom0 is this machine, with one Python as `python3`, and little environment."""

    def __init__(self, python: str, environment: Mapping[str, str]) -> None:
        self.python = python
        self.environment = environment

    def run(
        self, argv: Sequence[str], *, deadline: Deadline, check: bool, stdin: bytes | None
    ) -> CommandResult:
        assert (argv[0], check) == ("python3", False)
        done = subprocess.run(
            [self.python, *argv[1:]],
            input=stdin, env=self.environment, capture_output=True, timeout=deadline.remaining,
            check=False,
        )  # fmt: skip
        return CommandResult(
            tuple(argv), done.returncode, done.stdout.decode(), done.stderr.decode()
        )


def as_host(host: LocalHost) -> Host:
    return cast("Host", host)


class Connected:
    """Makes clients, and ends them in whatever state they are."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.dom0s: list[Dom0] = []
        self.host: FakeHost | None = None

    def __call__(
        self,
        log: str = "(XEN) 4.17.5 debug=n\n",
        *,
        registers: str = "",
        bindings: bool = True,
        domain: Path | None = None,
        kind: str = "emulated (TCG)",
        serial: bool = True,
        hang_seconds: float = 60.0,
    ) -> Dom0:
        self.host = FakeHost(self._folder if bindings else None, log, registers, domain)
        self.host.kind = kind
        if not serial:
            self.host.log = None
        dom0 = Dom0(self.host, hang_seconds=hang_seconds)  # type: ignore[arg-type]
        self.dom0s.append(dom0)
        # Before its first heartbeat a dom0 may be silent for longer; the tests begin after that.
        deadline = Deadline.after(30, "the first heartbeat")
        while not dom0._beats:
            assert not deadline.passed
            time.sleep(0.01)
        return dom0

    def close(self) -> None:
        for dom0 in self.dom0s:
            process = dom0._process
            process.kill()
            dom0.close()


@pytest.fixture
def connect(tmp_path: Path) -> Iterator[Connected]:
    module = tmp_path / "bindings" / "xen" / "lowlevel" / "xc.py"
    module.parent.mkdir(parents=True)
    module.write_text(BINDINGS)
    connected = Connected(tmp_path / "bindings")
    yield connected
    connected.close()


def soon(seconds: float = 10.0) -> Deadline:
    return Deadline.after(seconds, "a step")


def for_xen(seconds: float = 10.0) -> Deadline:
    return Deadline.for_xen(seconds, "a step", lambda: 0.0)


def lets_it_pass(_: object, *, deadline: Deadline) -> NoReturn:
    """Whoever is asked for something with a deadline, and does not do it in time."""
    raise deadline.error()


def silent_dom0(starved: float) -> Any:
    """A dom0 in which nothing ends, on a host that is starved for so long meanwhile, s."""
    return SimpleNamespace(
        host=SimpleNamespace(name="lab7"), run=lets_it_pass,
        patience=lambda step: Deadline.for_xen(0, step, iter([0.0, *[starved] * 9]).__next__),
    )  # fmt: skip
