# SPDX-License-Identifier: MIT
"""The client and the real agent, in a process of its own, with Xen's bindings faked."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.deadline import Deadline
from pytest_xenscrub.dom0 import client
from pytest_xenscrub.dom0.client import Dom0
from pytest_xenscrub.errors import (
    CommandError,
    DeadlineExceededError,
    HostStalledError,
    InfrastructureError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

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
        return {"node_memfree": [3, 0]}
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
                 "crashed": 0, "shutdown_reason": 0, "paused": 0, "cpu_time": 10 ** 9}]
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


class FakeHost:
    """A host whose dom0 is this machine, its Python with bindings from a folder."""

    name = "lab7"
    kind = "real"

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

    def signal(self, number: int) -> None:
        self.processes[-1].send_signal(number)

    def where_cpus_are(self) -> str:
        return "CPU 0: free_heap_pages"

    def serial_tail(self, lines: int = 20) -> str:
        return f"(XEN) last words\n'H' pressed -> dumping heap info (now = {lines})"


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
    ) -> Dom0:
        self.host = FakeHost(self._folder if bindings else None, log, registers, domain)
        self.dom0s.append(Dom0(self.host))  # type: ignore[arg-type]
        return self.dom0s[-1]

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


# -- what it tells -----------------------------------------------------------------------------


def test_info_of_a_release_build(connect: Connected) -> None:
    info = connect().info()
    assert (info.version, info.debug, info.clean_byte) == ("4.17.5", False, 0x00)
    assert (info.total_bytes, info.cpus, info.build_id) == (4 << 20, 2, "c0ffee")


def test_a_debug_build_scrubs_with_c2(connect: Connected) -> None:
    info = connect("(XEN) Xen version 4.17.5 (x) debug=y Tue\n").info()
    assert (info.debug, info.clean_byte) == (True, 0xC2)


def test_a_banner_that_the_log_has_lost_is_in_a_register_dump(connect: Connected) -> None:
    registers = "(XEN) ----[ Xen-4.17.5  x86_64  debug=y  Not tainted ]----\n"
    assert connect("(XEN) hours later\n", registers=registers).info().debug


def test_a_build_that_nobody_knows_is_an_error(connect: Connected) -> None:
    with pytest.raises(InfrastructureError, match="cannot tell whether Xen is a debug build"):
        connect("(XEN) hours later\n")


@pytest.mark.parametrize(
    ("command_line", "debug", "all_of_it"),
    [
        ("", "n", False),
        ("console=com1 scrub-domheap", "n", True),
        ("bootscrub=1", "n", False),
        ("bootscrub=1", "y", True),
        ("", "y", False),
    ],
)
def test_a_xen_that_scrubs_what_live_guests_give_back(
    command_line: str, debug: str, *, all_of_it: bool
) -> None:
    info = client.XenInfo("4.17", debug == "y", "", command_line, 1 << 30, 2, 1, "")
    assert info.scrubs_all is all_of_it


@pytest.mark.parametrize(
    "line",
    [
        "Assertion 'first_dirty < (1U << order)' failed at common/page_alloc.c:748",
        "Xen WARN at common/page_alloc.c:7",
        "Xen BUG at common/page_alloc.c:7",
        "FATAL PAGE FAULT",
        "Panic on CPU 1:",
    ],
)
def test_what_xen_finds_wrong_with_itself_is_told_from_there_on(
    connect: Connected, line: str
) -> None:
    before = "(XEN) Xen version 4.17.5 (x) debug=y Tue\n(XEN) Xen WARN at old.c:1\n"
    dom0 = connect(before, registers=f"(XEN) d5 crashed\n(XEN) {line}\n(XEN) Xen call trace:\n")
    dom0.watch_log()
    assert dom0.faults() == ""
    dom0._look("debug_key", "debug key d", key="d")
    assert dom0.faults() == f"(XEN) {line}\n(XEN) Xen call trace:"
    dom0.watch_log()
    assert dom0.faults() == ""


def test_missing_bindings_say_what_to_install(connect: Connected) -> None:
    with pytest.raises(InfrastructureError, match=r"no Xen bindings \(xen\.lowlevel\.xc\)") as e:
        connect(bindings=False)
    assert "xen-utils" in e.value.todo


def test_what_a_login_prints_is_passed_over(connect: Connected, tmp_path: Path) -> None:
    (tmp_path / "bindings" / "xen" / "__init__.py").write_text('print("Welcome to dom0!")')
    assert connect().info().cpus == 2


def test_free_memory_backlog_and_domains(connect: Connected) -> None:
    dom0 = connect()
    assert dom0.free_bytes() == 1 << 20
    assert dom0.backlog_pages() == 300
    (domain,) = dom0.domains()
    assert (domain.domid, domain.memory_bytes, domain.cpu_seconds) == (0, 512 << 10, 1.0)


def test_nodes_and_the_backlog_of_each(connect: Connected) -> None:
    dom0 = connect()
    assert dom0.nodes() == {0: range(4096), 1: range(4096, 4608)}
    assert dom0.backlog_of_nodes() == {0: 300}
    assert dom0.free_bytes_of_nodes() == {0: 3 << 20, 1: 0}


def test_free_memory_settles(connect: Connected, monkeypatch: pytest.MonkeyPatch) -> None:
    dom0 = connect()
    seen = iter([100, 100, 101, 101, 104])
    monkeypatch.setattr(dom0, "free_bytes", lambda: next(seen, 104))
    monkeypatch.setattr(client, "SETTLE_SECONDS", 0.2)
    assert dom0.settled_free_bytes() == 104


def test_free_memory_that_never_settles_is_not_waited_for(
    connect: Connected, monkeypatch: pytest.MonkeyPatch
) -> None:
    dom0 = connect()
    monkeypatch.setattr(dom0, "free_bytes", time.monotonic_ns)
    monkeypatch.setattr(client, "SETTLE_MOST_SECONDS", 0.2)
    dom0.settled_free_bytes()


def test_a_backlog_is_waited_for(connect: Connected) -> None:
    dom0 = connect()
    dom0.wait_drained(soon())
    assert dom0.backlog_pages() == 0


def test_a_backlog_that_stays_is_a_deadline_with_its_size(
    connect: Connected, monkeypatch: pytest.MonkeyPatch
) -> None:
    dom0 = connect()
    monkeypatch.setattr(dom0, "backlog_pages", lambda: 42)
    with pytest.raises(DeadlineExceededError, match="a step") as caught:
        dom0.wait_drained(soon(0.1))
    assert "42 pages" in str(caught.value)


# -- what it does ------------------------------------------------------------------------------


def test_run_is_timed(connect: Connected) -> None:
    result = connect().run(["echo", "hello"], deadline=soon())
    assert result.check().stdout == "hello\n"
    assert 0 <= result.seconds < 5


def test_a_command_that_fails_says_why(connect: Connected) -> None:
    result = connect().run(["sh", "-c", "echo bad luck >&2; exit 3"], deadline=soon())
    with pytest.raises(CommandError, match="ended with 3") as caught:
        result.check()
    assert "bad luck" in str(caught.value)


def test_a_command_that_hangs_is_a_deadline_with_xens_log(connect: Connected) -> None:
    with pytest.raises(DeadlineExceededError, match="a step") as caught:
        connect().run(["sleep", "60"], deadline=soon(1.2))
    assert "4.17.5 debug=n" in caught.value.evidence["Xen's log"]


def test_what_the_agent_refuses_is_infrastructure(connect: Connected) -> None:
    dom0 = connect()
    with pytest.raises(InfrastructureError, match="no such domain"):
        dom0.crash(REFUSE)
    with pytest.raises(InfrastructureError, match="there is no domain 9"):
        dom0.reclaim(9, ["true"], until="gone", deadline=soon())
    dom0.ping(soon())


def test_a_watch_is_there_once_what_the_domain_has_was_seen(
    connect: Connected, tmp_path: Path
) -> None:
    domain = tmp_path / "domain"
    domain.touch()
    dom0 = connect(domain=domain)
    watch = dom0.watch(THERE, None, until="gone", deadline=soon())
    assert not watch.done
    domain.unlink()
    assert watch.result().gone is not None


def test_a_watch_of_no_domain_never_begins(connect: Connected) -> None:
    dom0 = connect()
    with pytest.raises(InfrastructureError, match="there is no domain 9"):
        dom0.watch(9, None, until="gone", deadline=soon())


def test_a_watch_that_does_not_begin_is_a_deadline(connect: Connected) -> None:
    dom0 = connect()
    assert connect.host is not None
    connect.host.signal(signal.SIGSTOP)
    with pytest.raises(DeadlineExceededError, match="a step"):
        dom0.watch(THERE, None, until="gone", deadline=soon(0.2))


def test_a_watch_that_dom0_does_not_survive_never_begins(connect: Connected) -> None:
    dom0 = connect()
    assert connect.host is not None
    connect.host.signal(signal.SIGKILL)
    with pytest.raises(HostStalledError):
        dom0.watch(THERE, None, until="gone", deadline=soon())


def test_a_file_is_written(connect: Connected, tmp_path: Path) -> None:
    connect().write(str(tmp_path / "new" / "file"), "text")
    assert (tmp_path / "new" / "file").read_text() == "text"


# -- whether it still answers ------------------------------------------------------------------


def test_a_pause_of_its_heartbeat_is_a_stall(connect: Connected) -> None:
    dom0 = connect()
    assert connect.host is not None
    dom0.watch_stalls()
    connect.host.signal(signal.SIGSTOP)
    time.sleep(1.0)
    connect.host.signal(signal.SIGCONT)
    dom0.ping(soon())
    assert 0.5 < dom0.worst_stall() < 5
    time.sleep(0.3)  # the beat after the pause
    dom0.watch_stalls()
    assert dom0.worst_stall() < 0.9


def test_a_pause_of_the_connection_is_a_stall_whatever_dom0_says(connect: Connected) -> None:
    dom0 = connect()
    dom0.watch_stalls()
    dom0._latest_beat -= 7
    dom0._beat(0.0)
    assert dom0.worst_stall() > 6


def test_silence_is_a_stall_before_it_ends(connect: Connected) -> None:
    dom0 = connect()
    assert connect.host is not None
    connect.host.signal(signal.SIGSTOP)
    time.sleep(0.6)
    assert dom0.worst_stall() > 0.3


def test_a_silent_dom0_is_not_waited_for(
    connect: Connected, monkeypatch: pytest.MonkeyPatch
) -> None:
    dom0 = connect()
    dom0.run(["echo", "two words"], deadline=Deadline.after(10, "echo"))
    monkeypatch.setattr(client, "DEAD_SECONDS", 1.0)
    started = time.monotonic()
    with pytest.raises(
        HostStalledError, match=r"stopped responding . s ago, during: lab7: crash"
    ) as e:
        dom0.crash(FREEZE)
    assert time.monotonic() - started < 5
    assert e.value.evidence["serial log"] == "(XEN) last words"
    assert e.value.evidence["last command"] == "echo 'two words'"
    assert e.value.evidence["CPUs"] == "CPU 0: free_heap_pages"
    assert dom0.alive


def test_a_slow_answer_is_not_silence(connect: Connected, monkeypatch: pytest.MonkeyPatch) -> None:
    dom0 = connect()
    monkeypatch.setattr(client, "DEAD_SECONDS", 1.5)
    dom0.run(["sleep", "1.8"], deadline=soon()).check()


def test_an_answer_that_does_not_come_is_a_deadline(connect: Connected) -> None:
    dom0 = connect()
    assert connect.host is not None
    connect.host.signal(signal.SIGSTOP)
    with pytest.raises(DeadlineExceededError, match="a step") as caught:
        dom0.ping(soon(0.2))
    assert "last words" in str(caught.value)


def test_a_lost_connection_is_a_stalled_host_with_its_last_words(connect: Connected) -> None:
    dom0 = connect()
    with pytest.raises(HostStalledError, match="lab7: the connection to dom0 was closed") as e:
        dom0.crash(DIE)
    assert "Connection reset by peer" in e.value.evidence["ssh"]
    assert "last words" in e.value.evidence["serial log"]
    assert not dom0.alive


def test_a_lost_connection_stays_lost_and_says_the_same(connect: Connected) -> None:
    dom0 = connect()
    for _ in range(2):
        with pytest.raises(HostStalledError) as caught:
            dom0.crash(DIE)
        assert "Connection reset by peer" in caught.value.evidence["ssh"]


def test_evidence_of_a_dead_dom0_is_the_serial_log_without_heap_dumps(connect: Connected) -> None:
    dom0 = connect()
    with pytest.raises(HostStalledError):
        dom0.crash(DIE)
    assert dom0.evidence() == {"serial log": "(XEN) last words"}


def test_close_ends_what_still_runs_in_dom0(connect: Connected, tmp_path: Path) -> None:
    dom0 = connect()
    pid = tmp_path / "pid"
    script = f"echo $$ > {pid}.new; mv {pid}.new {pid}; exec sleep 60"
    answer = dom0._submit("run", argv=["sh", "-c", script], timeout=60).answer
    end = time.monotonic() + 10
    while not pid.exists():
        assert time.monotonic() < end
        time.sleep(0.01)
    dom0.close()
    assert answer.done()
    assert not Path(f"/proc/{pid.read_text().strip()}").exists()


def test_a_connection_that_somebody_else_holds_open_is_let_go_of(
    connect: Connected, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an ssh master does that is stopped."""
    monkeypatch.setattr(client, "_READER_SECONDS", 0.05)
    dom0 = connect()
    held = os.open(f"/proc/{dom0._process.pid}/fd/1", os.O_WRONLY)
    begin = time.monotonic()
    dom0.close(grace=0)
    assert time.monotonic() - begin < 5
    os.close(held)
    dom0._reader.join(5)
