# SPDX-License-Identifier: MIT
from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_xenscrub.dom0.sent import activate_tools as activate

PREFIX = "/opt/tools"


class FakeDom0:
    """Which daemons run, and what was called; every command that is not in `fails` succeeds."""

    def __init__(self, *running: str, fails: tuple[str, ...] = ()) -> None:
        self.paths = {Path(path).name: path for path in running}
        self.fails = fails
        self.called: list[str] = []

    def running(self, *names: str) -> list[tuple[int, str]]:
        return [(1, path) for name, path in self.paths.items() if name in names]

    def stop(self, *names: str) -> None:
        for name in names:
            self.paths.pop(name, None)

    def call(self, *argv: str, timeout: float = 20) -> bool:
        del timeout
        name = Path(argv[0]).name
        self.called.append(name)
        if name in self.fails:
            return False
        if name == "xenstore-control":
            self.paths["xenstored"] = argv[-1]
        elif name in ("xenstored", "xenconsoled"):
            self.paths[name] = argv[0]
        return True


def run(monkeypatch: pytest.MonkeyPatch, dom0: FakeDom0) -> None:
    for name in ("running", "stop", "call"):
        monkeypatch.setattr(activate, name, getattr(dom0, name))
    monkeypatch.setattr(activate, "set_up_dom0", lambda: None)
    monkeypatch.setattr(activate, "wait", lambda condition, _seconds: condition())
    monkeypatch.setattr(sys, "argv", ["-c", PREFIX])
    monkeypatch.setattr(os.path, "exists", lambda _: False)
    activate.main()


OURS = (f"{PREFIX}/sbin/xenstored", f"{PREFIX}/sbin/xenconsoled")
DEBIANS = ("/usr/lib/xen-4.17/bin/xenstored", "/usr/lib/xen-4.17/bin/xenconsoled")


def test_ours_are_left_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    dom0 = FakeDom0(*OURS)
    run(monkeypatch, dom0)
    assert dom0.called == ["xenstore-exists", "xen-init-dom0", "xl"]
    assert capsys.readouterr().out == ""


def test_xenstored_is_replaced_while_it_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, FakeDom0(*DEBIANS))
    assert capsys.readouterr().out == "xenstored: live update\nxenconsoled: started\n"


def test_xenstored_is_restarted_where_it_knows_no_live_update(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    dom0 = FakeDom0(*DEBIANS, fails=("xenstore-control",))
    run(monkeypatch, dom0)
    assert capsys.readouterr().out == "xenstored: started\nxenconsoled: started\n"
    assert sorted(dom0.paths.values()) == sorted(OURS)


@pytest.mark.parametrize(
    ("fails", "why"),
    [
        ("xenstored", "xenstored does not start"),
        ("xenstore-exists", "xenstored does not answer"),
        ("xen-init-dom0", "xen-init-dom0 failed"),
        ("xenconsoled", "xenconsoled does not start"),
        ("xl", "xl does not drive this Xen"),
    ],
)
def test_what_fails_is_said(monkeypatch: pytest.MonkeyPatch, fails: str, why: str) -> None:
    with pytest.raises(SystemExit, match=why):
        run(monkeypatch, FakeDom0(fails=(fails,)))


def test_processes_are_known_by_their_program(monkeypatch: pytest.MonkeyPatch) -> None:
    links = {"/proc/7/exe": "/usr/sbin/xenstored (deleted)", "/proc/8/exe": "/usr/bin/sh"}

    def readlink(path: str) -> str:
        if path not in links:
            raise FileNotFoundError(path)
        return links[path]

    fake: Any = SimpleNamespace(
        listdir=lambda _: ["7", "8", "9", "meminfo"], readlink=readlink, path=os.path
    )
    monkeypatch.setattr(activate, "os", fake)
    assert activate.running("xenstored") == [(7, "/usr/sbin/xenstored (deleted)")]


def test_commands_that_fail_or_take_too_long_are_told() -> None:
    assert activate.call("true")
    assert not activate.call("false")
    assert not activate.call("sleep", "10", timeout=0.05)


def test_a_command_that_does_not_end_counts_as_failed() -> None:
    assert activate.call("true")
    assert not activate.call("sleep", "60", timeout=0.1)


def test_each_question_to_xenstored_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    dom0 = FakeDom0(f"{PREFIX}/sbin/xenstored")
    limits = []

    def call(*argv: str, timeout: float = 20) -> bool:
        limits.append(timeout)
        return dom0.call(*argv)

    monkeypatch.setattr(activate, "running", dom0.running)
    monkeypatch.setattr(activate, "call", call)
    daemons = activate.Daemons(PREFIX)
    monkeypatch.setattr(daemons, "ours", lambda _: True)
    daemons.replace_xenstored()
    assert {*limits} == {5}
