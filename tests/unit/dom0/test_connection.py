# SPDX-License-Identifier: MIT
"""Whether dom0 still answers, and what is said when it does not."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.deadline import Deadline
from pytest_xenscrub.dom0 import connection
from pytest_xenscrub.errors import DeadlineExceededError, HostStalledError

from .conftest import DIE, FREEZE, soon

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


def test_what_this_machine_kept_a_host_waiting_is_no_stall_of_its_own(connect: Connected) -> None:
    dom0 = connect()
    assert connect.host is not None
    dom0.watch_stalls()
    dom0._latest_beat -= 7
    connect.host.starved = 4.0
    dom0._beat(0.0)
    assert 2 < dom0.worst_stall() < 4
    # It is counted once.
    dom0._latest_beat -= 9
    assert 8 < dom0.worst_stall() < 10
    # An emulated host that has ended has no account any more.
    connect.host.starved = 0.0
    assert 8 < dom0.worst_stall() < 10


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
    monkeypatch.setattr(connection, "_READER_SECONDS", 0.05)
    dom0 = connect()
    held = os.open(f"/proc/{dom0._process.pid}/fd/1", os.O_WRONLY)
    begin = time.monotonic()
    dom0.close(grace=0)
    assert time.monotonic() - begin < 5
    os.close(held)
    dom0._reader.join(5)
