# SPDX-License-Identifier: MIT
"""`xenscrub hosts` on a machine that is reached over real ssh."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from fakehost.machine import NAME
from pytest_xenscrub.command.main import main
from pytest_xenscrub.command.manual import FAILED, USAGE_ERROR
from pytest_xenscrub.deadline import Deadline
from pytest_xenscrub.dom0 import lock as lock_module
from pytest_xenscrub.dom0 import lock_look
from pytest_xenscrub.dom0.lock import PATH, Holder, HostLock
from pytest_xenscrub.errors import InfrastructureError
from pytest_xenscrub.host.ssh import SshHost
from pytest_xenscrub.host.target import Target

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fakehost.machine import Machine

HOLDER = Holder("xenscrub-0000c1", "ci", "runner3", "2026-11-27 12:00:00 +0000", "job 7")


@pytest.fixture
def labs(tmp_path: Path, machine: Machine) -> list[str]:
    """Options: a machine that answers, and one where nobody listens."""
    file = tmp_path / "labs.toml"
    file.write_text(
        f'[hosts.one]\naddress = "{NAME}"\ntags = ["numa"]\n'
        '[hosts.two]\naddress = "127.0.0.1"\nport = 1\n'
    )
    return [f"--xen-hosts-file={file}", f"--xen-ssh-config={machine.ssh_config}"]


@pytest.fixture
def held(machine: Machine) -> Iterator[HostLock]:
    """The machine is a run's."""
    host = SshHost(Target(NAME), config=machine.ssh_config)
    lock = HostLock(host, HOLDER, print)
    lock.acquire(0)
    yield lock
    lock.release()
    host.close()


def told(options: list[str], capsys: pytest.CaptureFixture[str]) -> list[list[str]]:
    """The cells of each line below the heading."""
    assert main(["hosts", *options]) == 0
    _, rule, *lines = capsys.readouterr().out.splitlines()
    starts = [match.start() for match in re.finditer("-+", rule)]
    ends = [*starts[1:], None]
    return [
        [line[start:end].strip() for start, end in zip(starts, ends, strict=True)]
        for line in lines[:2]
    ] + [[line] for line in lines[2:]]


def test_a_free_one_and_one_that_cannot_be_reached(
    labs: list[str], machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two, *rest = told(labs, capsys)
    assert one == ["one", "free", "", "", "", "", "numa"]
    assert two[:2] == ["two", "unreachable"]
    (line,) = rest
    assert line[0].startswith("two: 127.0.0.1:1 refused the connection")
    assert machine.run(f"ls {PATH} 2>/dev/null || echo none").strip() == "none"


@pytest.mark.usefixtures("held")
def test_one_that_a_run_has_and_the_run_does_not_notice(
    labs: list[str], held: HostLock, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        one, *_ = told(labs, capsys)
        assert one == [
            "one", "in use", "ci", "runner3", "2026-11-27 12:00:00 +0000", "job 7", "numa"
        ]  # fmt: skip
    assert held.held
    held.release()
    assert told(labs, capsys)[0][1] == "free"


def test_one_of_a_run_that_is_dead_or_reboots_it(
    labs: list[str],
    machine: Machine,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    boot = machine.run("cat /proc/sys/kernel/random/boot_id").strip()
    who = {"owner": "ci", "machine": "runner3", "since": "noon", "purpose": "job 7", "pid": 1}
    machine.run(f"echo '{json.dumps({**who, 'boot': boot})}' > {PATH}")
    assert told(labs, capsys)[0][:3] == ["one", "free: that run is dead", "ci"]
    machine.run(f"echo '{json.dumps({**who, 'boot': 'another'})}' > {PATH}")
    assert told(labs, capsys)[0][:2] == ["one", "free: that run is dead"]
    monkeypatch.setattr(lock_module, "GRACE_SECONDS", 1e9)
    assert told(labs, capsys)[0][:2] == ["one", "in use: it is being rebooted"]
    machine.run(f": > {PATH}")
    assert told(labs, capsys)[0][:2] == ["one", "free"]
    machine.run(f"flock {PATH} sleep 60 > /dev/null 2>&1 < /dev/null & sleep 0.5")
    assert told(labs, capsys)[0][:2] == ["one", "in use: a run is just starting or ending"]


def test_none_that_can_be_reached(
    labs: list[str], capsys: pytest.CaptureFixture[str], machine: Machine
) -> None:
    machine.tool("python3", "exit 1")
    assert main(["hosts", *labs]) == FAILED
    out, error = capsys.readouterr()
    assert error == "xenscrub: no host can be reached\n"
    assert [line.split(":")[0] for line in out.splitlines()[-2:]] == ["one", "two"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "no host is named"),
        (["--xen-host=emulated", "--xen-host=lab7"], "cannot be one of several hosts"),
        (["--xen-hosts-file=no.toml"], "there is no such file"),
        (["--xen-hosts-file=/dev/null"], "it is not a file"),
    ],
)
def test_mistakes_are_those_of_the_plugin(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["hosts", *arguments]) == USAGE_ERROR
    assert said in capsys.readouterr().err


def test_the_environment_names_them_too(
    machine: Machine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:  # pytest's own plugin would read it, too
        patch.setenv("PYTEST_XEN_HOST", NAME)
        assert main(["hosts", f"--xen-ssh-config={machine.ssh_config}"]) == 0
    assert re.search(rf"^{NAME} +free", capsys.readouterr().out, re.MULTILINE)


def test_the_emulated_one_is_always_free(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["hosts", "--xen-host=emulated"]) == 0
    assert re.search(r"^emulated +free", capsys.readouterr().out, re.MULTILINE)


def test_an_invalid_answer_about_the_lock_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    done = SimpleNamespace(stdout="welcome", stderr="a banner")
    monkeypatch.setattr(lock_look, "run_program", lambda *_, **__: done)
    host: Any = SimpleNamespace(name="one")
    with pytest.raises(InfrastructureError, match="one: its lock cannot be read"):
        lock_look.look(host, Deadline.after(1, "looking"))


def test_one_that_is_out_of_use_is_told_with_the_reason(
    tmp_path: Path, machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "labs.toml"
    file.write_text(f'[hosts.one]\naddress = "{NAME}"\n[hosts.two]\nbroken = "its fan is dead"\n')
    one, two = told([f"--xen-hosts-file={file}", f"--xen-ssh-config={machine.ssh_config}"], capsys)
    assert one[:2] == ["one", "free"]
    assert two[:2] == ["two", "out of use: its fan is dead"]


def test_a_place_of_labgrids_is_not_called_free(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["hosts", "--xen-host=labgrid:lab7"]) == 0
    assert "labgrid's: see labgrid-client places" in capsys.readouterr().out
