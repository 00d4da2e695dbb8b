# SPDX-License-Identifier: MIT
"""The lock, with the real locker as a process of this machine."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NoReturn, cast

import pytest

from pytest_xenscrub.dom0 import lock as lock_module
from pytest_xenscrub.dom0.lock import Holder, HostLock
from pytest_xenscrub.dom0.sent import locker
from pytest_xenscrub.errors import HostLockedError, InfrastructureError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from pytest_xenscrub.host.protocol import Host

    Make = Callable[[str], HostLock]


class Here:
    """Runs dom0's programs on this machine."""

    name = "lab7"

    def popen(self, argv: Sequence[str]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(lock_module, "PATH", str(tmp_path / "lock"))
    return tmp_path / "lock"


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def make(path: Path, said: list[str]) -> Iterator[Make]:
    """Makes the lock of a run."""
    locks: list[HostLock] = []

    def make(tag: str) -> HostLock:
        holder = Holder(tag, "alice", "desk3", "noon", f"test in {path.parent.name}")
        locks.append(HostLock(cast("Host", Here()), holder, said.append))
        return locks[-1]

    yield make
    for lock in locks:
        lock.release()


def test_one_run_at_a_time_and_the_other_is_told_whose_it_is(make: Make, path: Path) -> None:
    first, second = make("xenscrub-000001"), make("xenscrub-000002")
    first.acquire(0)
    assert first.held
    with pytest.raises(HostLockedError, match="lab7 is in use by xenscrub-000001 of alice on"):
        second.acquire(0)
    assert not second.held
    first.release()
    first.release()
    assert not path.exists()
    second.acquire(0)
    assert json.loads(path.read_text())["tag"] == "xenscrub-000002"


def test_a_lock_that_is_released_ends_well(make: Make) -> None:
    lock = make("xenscrub-000001")
    lock.acquire(0)
    process = lock._process
    assert process is not None
    lock.release()
    assert process.returncode == 0


def test_who_waits_gets_it_when_it_is_released(make: Make, said: list[str]) -> None:
    first, second = make("xenscrub-000001"), make("xenscrub-000002")
    first.acquire(0)

    def seen(line: str) -> None:
        said.append(line)
        first.release()

    second._say = seen
    second.acquire(20)
    assert said == [
        f"lab7: waiting for {lock_module.describe(vars(first._holder))}",
    ]


def test_a_dead_runs_is_taken_over(make: Make, said: list[str]) -> None:
    first, second = make("xenscrub-000001"), make("xenscrub-000002")
    first.acquire(0)
    first._drop()
    second.acquire(5)
    assert said[-1].startswith("lab7: taken over from a run that is dead, xenscrub-000001 of alice")


def test_ours_is_had_again_though_its_old_connection_still_stands(make: Make) -> None:
    old, new = make("xenscrub-000001"), make("xenscrub-000001")
    old.acquire(0)
    new.again()
    assert new.held
    time.sleep(0.1)
    assert not old.held


def test_a_silent_run_is_a_dead_run(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock_module, "SILENCE_SECONDS", 0.2)
    monkeypatch.setattr(lock_module, "RENEW_SECONDS", 60)
    first, second = make("xenscrub-000001"), make("xenscrub-000002")
    first.acquire(0)
    second.acquire(5)
    assert second.held
    assert not first.held


def test_a_run_that_is_heard_of_keeps_it(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock_module, "SILENCE_SECONDS", 0.4)
    monkeypatch.setattr(lock_module, "RENEW_SECONDS", 0.05)
    first = make("xenscrub-000001")
    first.acquire(0)
    time.sleep(0.8)
    assert first.held


def test_a_dom0_that_cannot_be_locked_is_told(
    make: Make, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock_module, "PATH", str(path / "no" / "folder"))
    with pytest.raises(InfrastructureError, match="could not be locked") as caught:
        make("xenscrub-000001").acquire(0)
    assert "No such file" in str(caught.value)


# -- a reboot, which this machine cannot be given --------------------------------------------


def boot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, boot_id: str, uptime: float) -> None:
    for name, text in (("BOOT_ID", boot_id), ("UPTIME", f"{uptime} 1.0")):
        file = tmp_path / name
        file.write_text(text + "\n")
        monkeypatch.setattr(locker, name, str(file))


@pytest.mark.parametrize(
    ("now", "tag", "gets"),
    [
        (("two", 30.0), "xenscrub-000002", False),  # the first one may be about to come back
        (("two", 130.0), "xenscrub-000002", True),  # it has not come
        (("one", 30.0), "xenscrub-000002", True),  # there was no reboot: it is dead
        (("two", 30.0), "xenscrub-000001", True),  # it is the first one
    ],
)
def test_who_gets_the_machine_after_a_reboot(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    now: tuple[str, float],
    tag: str,
    gets: bool,
) -> None:
    path = tmp_path / "lock"
    path.write_text(json.dumps({"tag": "xenscrub-000001", "boot": "one", "pid": 1}))
    boot(tmp_path, monkeypatch, *now)
    fd, other = locker.attempt(str(path), {"tag": tag}, 120.0)
    assert (fd is not None) == gets
    if fd is None:
        assert other is not None
        assert other["rebooting"]
    else:
        assert json.loads(path.read_text())["boot"] == now[0]
        assert (other is None) == (tag == "xenscrub-000001")
        os.close(fd)


def test_what_a_login_prints_is_no_answer(make: Make, said: list[str]) -> None:
    answers = [b"Welcome to lab7\n", b'{"waiting": null}\n', b'{"locked": null}\n']
    process: Any = SimpleNamespace(stdout=answers, stderr=answers)
    make("a")._await(process)
    assert len(said) == 1


@pytest.mark.parametrize("error", [InfrastructureError("no route"), KeyboardInterrupt()])
def test_a_lock_that_is_not_had_leaves_no_connection(
    make: Make, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    lock = make("a")
    started = []

    def refuse(process: subprocess.Popen[bytes]) -> None:
        started.append(process)
        raise error

    monkeypatch.setattr(lock, "_await", refuse)
    with pytest.raises(type(error)):
        lock.acquire(0)
    assert not lock.held
    assert started[0].poll() is not None


def test_a_lock_that_is_let_go_of_between_two_looks_is_tried_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stat, looks = os.stat, []

    def first_gone(asked: str, *arguments: Any, **named: Any) -> Any:
        if asked == str(path):
            looks.append(asked)
            if len(looks) == 1:
                raise FileNotFoundError(asked)
        return stat(asked, *arguments, **named)

    monkeypatch.setattr(os, "stat", first_gone)
    fd, before = locker.attempt(str(path), {"tag": "a"}, 60)
    assert fd is not None
    os.close(fd)
    assert before is None
    assert len(looks) == 2


def test_our_own_end_of_a_lost_connection_may_be_gone_already(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = {"tag": "a"}
    fd, _ = locker.attempt(str(path), mine, 60)
    assert fd is not None
    killed = []

    def gone(pid: int, _signal: int) -> None:
        killed.append(pid)
        raise ProcessLookupError

    monkeypatch.setattr(os, "kill", gone)
    again, found = locker.attempt(str(path), mine, 60)
    os.close(fd)
    assert again is None
    assert found is not None
    assert killed == [found["pid"]]


def test_a_lock_is_asked_for_again_where_nothing_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = iter([(None, {"tag": "b"}), (None, {"tag": "b"}), (7, None)])
    monkeypatch.setattr(locker, "attempt", lambda *_: next(answers))
    monkeypatch.setattr(locker, "POLL_SECONDS", 0.01)
    request = {"path": "", "who": {}, "grace": 0, "wait": 60}
    assert locker.acquire(request, queue.Queue()) == 7
    assert [*map(json.loads, capsys.readouterr().out.splitlines())] == [
        {"waiting": {"tag": "b"}}, {"locked": None},
    ]  # fmt: skip


def test_a_lock_whose_run_is_silent_is_let_go_of(path: Path) -> None:
    path.touch()
    locker.hold(str(path), queue.Queue(), 0.01)
    assert path.exists()  # it tells the next run that this one is dead


def test_a_connection_that_is_gone_is_let_go_of_without_a_word(path: Path, make: Make) -> None:
    def broken(*_: object) -> NoReturn:
        raise BrokenPipeError

    ended: list[str] = []
    pipe = SimpleNamespace(write=broken, flush=broken, close=broken)
    process: Any = SimpleNamespace(
        stdin=pipe, stdout=None, stderr=None, poll=lambda: None,
        kill=lambda: ended.append("killed"), wait=lambda *_: ended.append("reaped"),
    )  # fmt: skip
    lock = make("a")
    lock._renew(process, "{}")
    lock._process = process
    lock.release()
    assert ended == ["killed", "reaped"]
    assert not lock.held
