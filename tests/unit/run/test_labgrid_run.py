# SPDX-License-Identifier: MIT
"""Runs of pytest on places of labgrid's, whose program is faked."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from fakelabgrid.fake import FakeLab, call, holder
from pytest_xenscrub.boot import command_boot, leftovers, login
from pytest_xenscrub.host import power
from pytest_xenscrub.run import preflight
from pytest_xenscrub.run.blame import INFRASTRUCTURE_STATUS

if TYPE_CHECKING:
    from pathlib import Path

LOADED = command_boot, leftovers, login, power
"""Each run in this process would load them anew, beside what is loaded already."""

TESTS = """
import pytest

@pytest.mark.parametrize("n", range(2))
def test_it(xen_host, n): pass
"""
HOLDS = """
import pathlib, time
from pytest_xenscrub.run import preflight, reservation
from pytest_xenscrub.run.reservation import Reservation

preflight._lacking = lambda *_: ({}, "")

def reserve(self, described, wait):
    described = self._take(described, wait)
    pathlib.Path("held").write_text(described.name)
    time.sleep(60)

Reservation._reserve = reserve
"""
"""A run that has its place, and is busy with the machine."""
NOBODY = {"address": "127.0.0.1", "username": "root"}


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pytester: pytest.Pytester) -> FakeLab:
    for name in list(os.environ):
        if name.startswith("PYTEST_"):
            monkeypatch.delenv(name)
    # The conftest below changes it, in this process for runs that are not of their own.
    monkeypatch.setattr(preflight, "_lacking", preflight._lacking)
    lab = FakeLab(tmp_path / "labgrid")
    monkeypatch.setenv("LG_COORDINATOR", lab.coordinator)
    monkeypatch.setenv("LG_USERNAME", "alice")
    monkeypatch.setenv("LG_HOSTNAME", "vm")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    pytester.makepyfile(test_it=TESTS)
    pytester.makeconftest(
        'from pytest_xenscrub.run import preflight\npreflight._lacking = lambda *_: ({}, "")'
    )
    return lab


def test_each_worker_has_a_place_of_its_own(lab: FakeLab, pytester: pytest.Pytester) -> None:
    """Nobody listens there, which is told of the machine that was to be used."""
    for number in (1, 2):
        lab.add(f"lab{number}", {"xen": "yes"}, {"NetworkService": NOBODY | {"port": number}})
    result = pytester.runpytest_subprocess(
        "--xen-host=labgrid:xen=yes", f"--xen-labgrid-client={lab.program}", "-n2", "-v"
    )
    assert result.ret == INFRASTRUCTURE_STATUS
    result.assert_outcomes(errors=2)
    said = result.stdout.str()
    for number in (1, 2):
        assert f"lab{number} is acquired as vm/alice.xenscrub-" in said
        assert f"root@127.0.0.1:{number} refused the connection" in said
    assert [holder(lab, name) for name in ("lab1", "lab2")] == ["", ""]
    assert lab.state["turns"] == {}


def test_more_workers_than_a_place_that_was_named(lab: FakeLab, pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_subprocess("--xen-host=labgrid:lab1", "-n2")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: 2 workers, and 1 host for them: labgrid:lab1"])


def test_who_has_what_is_told(lab: FakeLab, pytester: pytest.Pytester) -> None:
    lab.add("lab1", {"xen": "yes"}, {"NetworkService": NOBODY})
    call(lab, "bob", "-p", "lab1", "acquire")
    result = pytester.runpytest_inprocess(
        "--xen-host=labgrid:xen=yes", f"--xen-labgrid-client={lab.program}"
    )
    assert result.ret == INFRASTRUCTURE_STATUS
    result.stdout.fnmatch_lines(["xen host: labgrid:xen=yes (over ssh)"])
    assert "labgrid:xen=yes is in use: lab1 (vm/bob, since " in result.stdout.str()
    assert lab.state["turns"] == {}
    assert holder(lab, "lab1") == "vm/bob"


def test_a_program_that_is_missing_is_one_error(
    lab: FakeLab, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pytest_xenscrub.run.preflight.shutil.which", lambda _: None)
    for workers in ((), ("-n2",)):
        result = pytester.runpytest_inprocess("--xen-host=labgrid:xen=yes", *workers)
        assert result.ret == INFRASTRUCTURE_STATUS
        said = result.stderr.str()
        assert said.count("ERROR: labgrid-client, labgrid's program, is not installed") == 1
        assert "next: pipx install labgrid" in said
        result.stdout.no_fnmatch_line("*test_it*ERROR*")


@pytest.mark.parametrize(
    ("name", "why"), [("./gone", "there is no such file"), ("./test_it.py", "it is no program")]
)
def test_a_program_that_cannot_be_one(
    lab: FakeLab, pytester: pytest.Pytester, name: str, why: str
) -> None:
    result = pytester.runpytest_inprocess(
        "--xen-host=labgrid:xen=yes", f"--xen-labgrid-client={name}"
    )
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert why in result.stderr.str()


@pytest.mark.parametrize("ended_by", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_is_ended_gives_its_place_back(
    lab: FakeLab, pytester: pytest.Pytester, ended_by: signal.Signals
) -> None:
    lab.add("lab1", {"xen": "yes"}, {"NetworkService": NOBODY})
    pytester.makeconftest(HOLDS)
    command = [
        sys.executable, "-m", "pytest", "--xen-host=labgrid:xen=yes",
        f"--xen-labgrid-client={lab.program}",
    ]  # fmt: skip
    run = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
    end = time.monotonic() + 90
    while not (pytester.path / "held").exists():
        assert run.poll() is None
        assert time.monotonic() < end
        time.sleep(0.1)
    assert holder(lab, "lab1").startswith("vm/alice.xenscrub-")
    # As a terminal and CI systems do it: to the whole group.
    os.killpg(run.pid, ended_by)
    run.wait(60)
    while holder(lab, "lab1"):
        assert time.monotonic() < end
        time.sleep(0.2)
    assert lab.state["turns"] == {}
