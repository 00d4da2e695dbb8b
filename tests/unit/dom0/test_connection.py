# SPDX-License-Identifier: MIT
"""Whether dom0 still answers, and what is said when it does not."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from pytest_xenscrub.deadline import Deadline
from pytest_xenscrub.dom0 import connection
from pytest_xenscrub.dom0.client import Dom0
from pytest_xenscrub.dom0.serial import LINES
from pytest_xenscrub.errors import (
    DeadlineExceededError,
    Fault,
    HostLostError,
    HostSilentError,
    HostStalledError,
    InfrastructureError,
    XenHungError,
)

from .conftest import DIE, FREEZE, for_xen, soon

if TYPE_CHECKING:
    from .conftest import Connected


def test_a_pause_of_its_heartbeat_is_a_stall(connect: Connected) -> None:
    dom0 = connect()
    assert connect.host is not None
    dom0.watch_stalls()
    connect.host.signal(signal.SIGSTOP)
    time.sleep(1.0)
    connect.host.signal(signal.SIGCONT)
    dom0.ping(soon())
    assert 0.5 < dom0.worst_stall().seconds < 5
    time.sleep(0.3)  # the beat after the pause
    dom0.watch_stalls()
    assert dom0.worst_stall().seconds < 0.9


def test_a_pause_of_the_connection_is_a_stall_whatever_dom0_says(connect: Connected) -> None:
    dom0 = connect()
    dom0.watch_stalls()
    dom0._latest_beat -= 7
    dom0._beat(0.0)
    assert dom0.worst_stall().seconds > 6


def test_what_this_machine_kept_a_host_waiting_is_no_stall_of_its_own(connect: Connected) -> None:
    dom0 = connect()
    assert connect.host is not None
    dom0.watch_stalls()
    dom0._latest_beat -= 7
    connect.host.outside.starved = 4.0
    dom0._beat(0.0)
    assert 2 < dom0.worst_stall().seconds < 4
    # It is counted once.
    dom0._latest_beat -= 9
    assert 8 < dom0.worst_stall().seconds < 10
    # An emulated host that has ended has no account any more.
    connect.host.outside.starved = 0.0
    assert 8 < dom0.worst_stall().seconds < 10


def test_a_cpu_that_is_late_is_a_stall_though_others_beat(connect: Connected) -> None:
    dom0 = connect()
    dom0.watch_stalls()
    dom0._beat(6.0)
    assert dom0.worst_stall().seconds == pytest.approx(6.0, abs=0.1)
    assert dom0.stalled_seconds() == pytest.approx(6.0, abs=0.1)


def test_a_cpu_that_is_late_was_starved_before_the_last_beat(connect: Connected) -> None:
    dom0 = connect()
    assert connect.host is not None
    dom0.watch_stalls()
    now = time.monotonic()
    # Starved for four seconds, seven ago; of that the beats in between knew already.
    dom0._beats.clear()
    dom0._beats.extend((now - ago, 0.0 if ago > 7 else 4.0) for ago in range(20, 0, -1))
    dom0._starved = connect.host.outside.starved = 4.0
    dom0._beat(9.0)
    stall = dom0.worst_stall()
    assert stall.seconds == pytest.approx(5.0, abs=0.2)
    assert stall.starved == 4.0


def test_a_dom0_may_take_its_time_to_start_the_agent(connect: Connected) -> None:
    dom0 = connect()
    dom0.ping(soon())
    assert connect.host is not None
    connect.host.signal(signal.SIGSTOP)
    time.sleep(0.2)  # what it has said by then is read
    beats, dom0._latest_beat = [*dom0._beats], time.monotonic() - 30
    dom0._beats.clear()
    dom0.check_alive("its first word")
    dom0._beats.extend(beats)
    with pytest.raises(HostStalledError):
        dom0.check_alive("a later one")


def test_silence_is_a_stall_before_it_ends(connect: Connected) -> None:
    dom0 = connect()
    assert connect.host is not None
    connect.host.signal(signal.SIGSTOP)
    time.sleep(0.6)
    assert dom0.worst_stall().seconds > 0.3


def test_a_silent_dom0_is_not_waited_for(
    connect: Connected, monkeypatch: pytest.MonkeyPatch
) -> None:
    dom0 = connect()
    dom0.run(["echo", "two words"], deadline=Deadline.after(10, "echo"))
    monkeypatch.setattr(connection, "DEAD_SECONDS", 1.0)
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
    monkeypatch.setattr(connection, "DEAD_SECONDS", 1.5)
    dom0.run(["sleep", "1.8"], deadline=soon()).check()


def test_an_answer_that_does_not_come_is_a_deadline(connect: Connected) -> None:
    dom0 = connect()
    assert connect.host is not None
    connect.host.signal(signal.SIGSTOP)
    with pytest.raises(DeadlineExceededError, match="a step") as caught:
        dom0.ping(soon(0.2))
    assert "last words" in str(caught.value)


def test_an_answer_that_xen_owes_and_does_not_give_is_a_hang(connect: Connected) -> None:
    dom0 = connect()
    assert connect.host is not None
    connect.host.signal(signal.SIGSTOP)
    with pytest.raises(XenHungError, match="a step"):
        dom0.ping(for_xen(0.2))


def test_silence_of_a_real_machine_may_be_the_networks(
    connect: Connected, monkeypatch: pytest.MonkeyPatch
) -> None:
    dom0 = connect(kind="real", serial=False)
    monkeypatch.setattr(connection, "DEAD_SECONDS", 1.0)
    with pytest.raises(HostSilentError, match="stopped responding") as caught:
        dom0.crash(FREEZE)
    assert "--xen-serial" in caught.value.todo


def test_a_serial_log_without_a_crash_does_not_tell(connect: Connected) -> None:
    dom0 = connect(kind="real")
    with pytest.raises(HostSilentError, match="connection to dom0 was closed") as caught:
        dom0.crash(DIE)
    assert "watchdog" in caught.value.todo
    assert "last words" in caught.value.evidence["serial log"]


@pytest.mark.parametrize(
    "line",
    [
        "Panic on CPU 0:",
        "(XEN) Watchdog timer detects that CPU1 is stuck!",
        "watchdog: BUG: soft lockup - CPU#0 stuck for 22s!",
    ],
)
def test_a_serial_log_that_tells_of_a_crash_is_xens(connect: Connected, line: str) -> None:
    dom0 = connect(kind="real")
    assert connect.host is not None
    connect.host.log = f"{line}\n"
    with pytest.raises(HostStalledError):
        dom0.crash(DIE)


def test_a_crash_of_an_earlier_boot_tells_nothing(connect: Connected) -> None:
    dom0 = connect(kind="real")
    assert connect.host is not None
    connect.host.log = "Panic on CPU 0:\nlogin:\n"
    dom0._log_before = dom0.host.serial_tail(LINES)
    connect.host.log += "dom0 says something harmless\n"
    with pytest.raises(HostSilentError):
        dom0.crash(DIE)


def test_a_qemu_that_has_ended_is_not_xens_silence(connect: Connected) -> None:
    dom0 = connect()
    assert connect.host is not None
    connect.host.qemu_runs = False
    with pytest.raises(HostSilentError, match="closed") as caught:
        dom0.crash(DIE)
    assert "was it killed?" in caught.value.todo


@pytest.mark.parametrize(
    ("line", "error", "says"),
    [
        ("", HostSilentError, "other work kept the host from running"),
        # A watchdog cannot tell a CPU that hangs from one that this machine does not run.
        ("soft lockup - CPU#0 stuck for 27s!", HostSilentError, "other work kept the host"),
        ("Panic on CPU 0:", HostStalledError, "Xen or dom0 crashed"),
    ],
)
def test_silence_of_a_starved_host_is_xens_only_after_a_crash(
    connect: Connected, monkeypatch: pytest.MonkeyPatch, line: str, error: type[Exception],
    says: str,
) -> None:  # fmt: skip
    dom0 = connect()
    assert connect.host is not None
    connect.host.log = f"{line}\n"
    monkeypatch.setattr(connection, "DEAD_SECONDS", 0.5)
    connect.host.signal(signal.SIGSTOP)
    time.sleep(0.6)
    dom0._latest_beat -= 2
    connect.host.outside.starved = 1.5
    with pytest.raises(error, match=says):
        dom0.check_alive("a step")


def test_what_a_real_dom0_overslept_is_a_stall_and_what_the_network_did_is_none(
    connect: Connected,
) -> None:
    dom0 = connect(kind="real")
    dom0.watch_stalls()
    dom0._latest_beat -= 7
    dom0._beat(0.1)
    assert dom0.worst_stall().seconds < 1
    dom0._beat(7.0)
    assert dom0.worst_stall().seconds == 7


def test_a_lost_connection_is_a_stalled_host_with_its_last_words(connect: Connected) -> None:
    dom0 = connect()
    with pytest.raises(HostStalledError, match="lab7: the connection to dom0 was closed") as e:
        dom0.crash(DIE)
    assert "Connection reset by peer" in e.value.evidence["ssh"]
    assert "last words" in e.value.evidence["serial log"]
    assert not dom0.alive


def test_a_connection_that_ended_alone_is_not_xens_doing(connect: Connected) -> None:
    """Ssh was killed, or the agent; dom0 itself answers on."""
    dom0 = connect()
    assert connect.host is not None
    connect.host.answers = True
    with pytest.raises(
        HostLostError, match="was closed, but dom0 answers on another connection"
    ) as e:
        dom0.crash(DIE)
    assert e.value.fault is Fault.INFRASTRUCTURE
    assert "Connection reset by peer" in e.value.evidence["ssh"]


@pytest.mark.parametrize(
    ("seconds", "error"),
    [
        ((2, 1, 0), HostStalledError),
        ((31, 1, 0), HostStalledError),
        ((31, 20, 0), HostSilentError),
        ((31, 0, 20), HostSilentError),
    ],
)
def test_what_ssh_gave_up_on_a_host_that_was_kept_is_undecided(
    connect: Connected,
    monkeypatch: pytest.MonkeyPatch,
    seconds: tuple[float, float, float],
    error: type[Exception],
) -> None:
    """Its dom0 could not answer, whatever its Xen did; silent, and of that starved, or stood."""
    silent, starved, stood = seconds
    dom0 = connect()
    assert connect.host is not None
    dom0._beat(0.0)
    monkeypatch.setattr(dom0, "_beat", lambda _late: None)
    dom0._latest_beat -= silent
    connect.host.outside.starved, connect.host.outside.stood = starved, stood
    with pytest.raises(error, match="connection to dom0 was closed"):
        dom0.crash(DIE)


def test_a_host_that_we_ended_ourselves_says_why(connect: Connected) -> None:
    """Whatever its dom0 did last, that is no fault of Xen's."""
    dom0 = connect()
    assert connect.host is not None
    connect.host.outside.ended = InfrastructureError("it needs more than --xen-host-ram-limit")
    with pytest.raises(InfrastructureError, match="needs more than --xen-host-ram-limit"):
        dom0.crash(DIE)


def test_dom0_is_not_told_of_time_in_which_its_own_clock_stood(
    connect: Connected, monkeypatch: pytest.MonkeyPatch
) -> None:
    dom0 = connect()
    assert connect.host is not None
    connect.host.outside.stood = 50.0
    dom0._latest_beat -= 30
    dom0.check_alive("a drain")
    told: list[object] = []
    monkeypatch.setattr(dom0, "_say", told.append)
    dom0._tell_starved()
    assert told == []


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


def test_a_connection_that_another_process_holds_open_is_abandoned(
    connect: Connected, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an ssh master does that is stopped."""
    monkeypatch.setattr(connection, "_READER_SECONDS", 0.05)
    dom0 = connect()
    held = os.open(f"/proc/{dom0._process.pid}/fd/1", os.O_WRONLY)
    begin = time.monotonic()
    dom0.close(grace=0)
    assert time.monotonic() - begin < 5
    os.close(held)
    dom0._reader.join(5)


def test_a_pipe_that_breaks_while_something_is_asked_for_is_told_by_what_is_left(
    connect: Connected, monkeypatch: pytest.MonkeyPatch
) -> None:
    dom0 = connect()
    assert connect.host is not None
    connect.host.answers = True

    def broken(_: object) -> None:
        dom0._process.kill()
        raise BrokenPipeError

    monkeypatch.setattr(dom0, "_say", broken)
    with pytest.raises(HostLostError, match="dom0 answers on another connection"):
        dom0._submit("ping")


def test_a_failure_to_report_starvation_is_not_an_error(
    connect: Connected, monkeypatch: pytest.MonkeyPatch
) -> None:
    dom0 = connect()
    assert connect.host is not None
    connect.host.outside.starved = 4.0
    asked = []

    def broken(message: object) -> None:
        asked.append(message)
        raise BrokenPipeError

    monkeypatch.setattr(dom0, "_say", broken)
    dom0._tell_starved()
    assert len(asked) == 1


def test_whether_dom0_answers_on_another_connection_is_no_wait_for_xen() -> None:
    asked: list[Deadline] = []

    def run(_: object, *, deadline: Deadline) -> None:
        asked.append(deadline)
        raise HostLostError("no route")

    fake: Any = SimpleNamespace(host=SimpleNamespace(run=run))
    assert not Dom0._dom0_answers(fake)
    assert not asked[0].blames_xen


def test_last_lines_that_cannot_be_had_are_left_out() -> None:
    asked: list[Deadline] = []

    def call(_: str, deadline: Deadline, *, lines: int) -> None:
        asked.append(deadline)
        raise ZeroDivisionError

    fake: Any = SimpleNamespace(_call=call, serial_tail=lambda: "(XEN) last words")
    assert Dom0.evidence(fake) == {"serial log": "(XEN) last words"}
    assert not asked[0].blames_xen


def test_an_agent_that_does_not_end_is_killed_whatever_its_pipes_do() -> None:
    ended: list[str] = []

    def wait(seconds: float) -> None:
        if not ended:
            raise subprocess.TimeoutExpired("ssh", seconds)

    def broken() -> None:
        raise BrokenPipeError

    process = SimpleNamespace(
        stdin=SimpleNamespace(close=broken), stdout=None, stderr=None,
        wait=wait, kill=lambda: ended.append("killed"),
    )  # fmt: skip
    reader = SimpleNamespace(join=lambda _: None, is_alive=lambda: False)
    fake: Any = SimpleNamespace(_process=process, _reader=reader)
    Dom0.close(fake, 0)
    assert ended == ["killed"]


def test_an_ssh_whose_last_words_do_not_come_is_not_waited_for() -> None:
    def wait(seconds: float) -> None:
        raise subprocess.TimeoutExpired("ssh", seconds)

    fake: Any = SimpleNamespace(
        _process=SimpleNamespace(stdout=[], wait=wait), _closing=True, _lock=threading.Lock(),
        _waiting={}, _silent=lambda: None,
    )  # fmt: skip
    Dom0._read(fake)
    assert fake._end == "the connection to dom0 was closed"
