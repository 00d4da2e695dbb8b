# SPDX-License-Identifier: MIT
"""`xenscrub hosts --check` on a machine that is reached over real ssh, whose Xen is faked."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from fakehost.machine import NAME
from pytest_xenscrub.boot import health
from pytest_xenscrub.command import hosts_check
from pytest_xenscrub.command.main import main
from pytest_xenscrub.command.manual import FAILED, USAGE_ERROR
from pytest_xenscrub.dom0.lock import PATH, Holder, HostLock
from pytest_xenscrub.errors import DeadlineExceededError, InfrastructureError
from pytest_xenscrub.host.description import parse_host
from pytest_xenscrub.host.ssh import SshHost
from pytest_xenscrub.host.target import Target

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fakehost.machine import Machine
    from pytest_xenscrub.deadline import Deadline

    Check = Callable[..., tuple[int, dict[str, str], str]]

NO_XEN = """\
xencall: error: Could not obtain handle on privileged command interface: No such file or directory
libxl: error: libxl.c:102:libxl_ctx_alloc: cannot open libxc handle: No such file or directory
cannot init xl context"""
"""What xl 4.17 says where no Xen runs."""
OTHER_GUESTS = """\
echo "Name                                        ID   Mem VCPUs	State	Time(s)"
echo "Domain-0                                     0  4096     4     r-----     123.4"
echo "win10 of bob                                 7  2048     2     -b----      12.4"
"""
"""With `xl list` of a machine with another's guest."""


@pytest.fixture
def check(tmp_path: Path, machine: Machine, capsys: pytest.CaptureFixture[str]) -> Check:
    """Checks the machine: the exit status, each check's state with what was seen, the output."""

    def run(*more: str, entry: str = "") -> tuple[int, dict[str, str], str]:
        file = tmp_path / "labs.toml"
        file.write_text(f'[hosts.one]\naddress = "{NAME}"\n{entry}\n')
        before = what_is_there(machine)
        status = main(
            ["hosts", "--check", f"--xen-hosts-file={file}",
             f"--xen-ssh-config={machine.ssh_config}", *more]
        )  # fmt: skip
        assert what_is_there(machine) == before
        out, error = capsys.readouterr()
        lines = re.findall(r"^  (good|note|bad) +(\w+) +(.*)$", out, re.MULTILINE)
        return status, {name: f"{state}: {seen}" for state, name, seen in lines}, out + error

    return run


def what_is_there(machine: Machine) -> str:
    """All files that a run may write; programs of the machine do not matter to this."""
    command = ["find /boot /run /var/lib /var/log /opt", "! -path '/run/lab*' | sort"]
    return machine.run(" ".join([*command, "; cat /boot/grub/*; cat", PATH, "2> /dev/null || :"]))


def test_a_machine_that_is_ready(check: Check, tmp_path: Path) -> None:
    log = tmp_path / "serial"
    log.write_text("(XEN) Xen version 4.17.5\nLinux version 6.1\n")
    status, found, said = check(
        entry=f'power = "echo Chassis Power is {{action}}"\nserial = "cat {log}"'
    )
    assert status == 0
    assert said.startswith("one: ready\n")
    assert found == {
        "login": "good: root, with a plain shell and Python",
        "dom0": "good: this Linux is Xen's dom0",
        "xl": "good: xl works, Xen 4.17.5",
        "memory": "good: 4.00 GiB free of 8.00 GiB",
        "bindings": "good: dom0's Python can ask Xen",
        "disk": found["disk"],
        "lock": "good: free",
        "guests": "good: none of others",
        "leftovers": "good: none of dead runs",
        "boot": "good: GRUB boots a Xen once (/boot/grub/grub.cfg, as /boot/xen-4.17-amd64.gz)",
        "power": "good: status: Chassis Power is status",
        "serial": "good: 2 lines, 1 of Xen's",
    }
    assert found["disk"].startswith("good: ")
    assert "next:" not in said


def test_what_is_not_set_is_noted_and_no_fault(check: Check) -> None:
    status, found, said = check()
    assert status == 0
    assert found["power"].startswith("note: not set")
    assert found["serial"].startswith("note: not set")
    assert said.count("next: ") == 2


def test_one_that_is_not_a_xen(check: Check, machine: Machine) -> None:
    machine.run("rm /sys/hypervisor/type; rm -r /run/lab/python/xen")
    machine.tool("xl", f"cat >&2 << 'END'\n{NO_XEN}\nEND\nexit 1")
    status, found, said = check()
    assert status == FAILED
    assert said.startswith("one: NOT READY\n")
    assert "xenscrub: not ready: one\n" in said
    assert found["dom0"] == "bad: this Linux does not run on Xen"
    assert found["xl"] == "bad: xl info returned 1: cannot init xl context"
    assert found["bindings"].startswith("bad: dom0's Python cannot ask Xen: ModuleNotFoundError")
    assert "boot the machine with Xen" in said
    assert "memory" not in found
    assert "guests" not in found


@pytest.mark.parametrize(
    ("script", "check_of", "said"),
    [
        ("echo 00002705 > /sys/hypervisor/properties/features", "dom0", "bad: this Linux is a"),
        ("rm /sys/hypervisor/properties/features", "dom0", "note: the kernel does not tell"),
        ("mount -o remount,size=1m /boot", "disk", "bad: /boot has "),
        ("mount -o remount,ro /var/lib", "disk", "bad: /var/lib cannot be written"),
        ("echo 1000 > /run/lab/state/free", "memory", "bad: 0 MiB free of 8.00 GiB; guests need"),
        (f"echo '{{}}' > {PATH}", "lock", "note: free; left by"),
        ("mkdir /run/xenscrub-0000c1", "leftovers", "note: a dead run's: /run/xenscrub-0000c1"),
        ("touch /boot/pytest-xenscrub-xenscrub-0000c1.gz", "leftovers", "note: a dead run's: /boo"),
        ("rm /boot/grub/grub.cfg", "boot", "note: has no GRUB configuration"),
        ("rm /boot/grub/grubenv", "boot", "note: has no GRUB environment"),
        ("echo 6.1.0-99-amd64 > /run/lab/state/kernel", "boot", "note: "),
    ],
)  # fmt: skip
def test_each_fault_is_told_with_what_to_do(
    script: str, check_of: str, said: str, check: Check, machine: Machine
) -> None:
    machine.run(script)
    status, found, text = check()
    assert found[check_of].startswith(said)
    assert status == (FAILED if said.startswith("bad") else 0)
    if not said.startswith("good"):
        assert re.search(rf"^  \w+ +{check_of} .*\n +next: \S", text, re.MULTILINE)


def test_guests_of_others(check: Check, machine: Machine) -> None:
    xl = (machine.folder / "bin/xl").read_text()
    (machine.folder / "bin/real-xl").write_text(xl)
    (machine.folder / "bin/real-xl").chmod(0o755)
    machine.tool("xl", f'[ "$1" = list ] || exec real-xl "$@"\n{OTHER_GUESTS}')
    status, found, _ = check()
    assert status == FAILED
    assert found["guests"] == "bad: guests that are not ours: win10 of bob"


def test_a_machine_in_use_is_a_good_one(check: Check, machine: Machine) -> None:
    """And what is on it may be that run's."""
    host = SshHost(Target(NAME), config=machine.ssh_config)
    holder = Holder("xenscrub-0000c1", "ci", "runner3", "noon", "job 7")
    lock = HostLock(host, holder, print)
    lock.acquire(0)
    machine.run("mkdir /run/xenscrub-0000c1")
    try:
        status, found, _ = check()
        assert lock.held
    finally:
        lock.release()
        host.close()
    assert status == 0
    assert found["lock"].startswith("good: in use by xenscrub-0000c1 of ci on runner3, since noon")
    assert "leftovers" not in found


def test_a_dead_runs_lock_is_noted(check: Check, machine: Machine) -> None:
    boot = machine.run("cat /proc/sys/kernel/random/boot_id").strip()
    machine.run(f'echo \'{{"tag": "xenscrub-0000c1", "pid": 1, "boot": "{boot}"}}\' > {PATH}')
    status, found, _ = check()
    assert status == 0
    assert found["lock"].startswith("note: free; left by a run that is dead, xenscrub-0000c1")


def test_what_a_dead_run_has_set_at_a_boot_server(check: Check, machine: Machine) -> None:
    machine.run("echo 0a > /var/lib/pytest-xenscrub.boot")
    status, found, _ = check(entry='boot = "true {xen} {options}"')
    assert status == 0
    assert found["leftovers"] == "note: a dead run's: /var/lib/pytest-xenscrub.boot"
    assert found["boot"] == "good: by the command true"


def test_commands_that_do_not_work(check: Check) -> None:
    status, found, said = check("--xen-serial=echo nothing", entry='power = "false {action}"')
    assert status == FAILED
    assert found["power"] == "bad: power status: the command returned 1"
    assert found["serial"] == "note: 1 lines, 0 of Xen's"
    assert "try it by hand" in said


def test_one_that_nobody_reaches_still_has_its_power_looked_at(
    check: Check, tmp_path: Path
) -> None:
    more = '[hosts.two]\naddress = "127.0.0.1"\nport = 1\npower = "echo off {action}"'
    status, _, said = check(entry=more)
    assert status == FAILED
    one, two = said.split("two: ")[:2]
    assert one.startswith("one: ready")
    assert two.startswith("NOT READY\n  bad   login      127.0.0.1:1 refused the connection")
    assert re.search(r"good  power +status: off status", two)
    assert "xl " not in two


@pytest.mark.parametrize(("style", "begins"), [("markdown", "| host"), ("html", "<table>")])
def test_other_formats(style: str, begins: str, check: Check) -> None:
    status, _, said = check(f"--format={style}")
    assert status == 0
    assert said.startswith(begins)
    assert said.count("good") == 10


def test_machines_out_of_use_are_named(check: Check) -> None:
    status, _, said = check(entry='[hosts.two]\nbroken = "its fan is dead"')
    assert status == 0
    assert "two: not checked, out of use: its fan is dead" in said


@pytest.mark.parametrize("host", ["emulated", "labgrid:lab7"])
def test_a_check_of_no_machine_is_no_success(host: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["hosts", "--check", f"--xen-host={host}"]) == USAGE_ERROR
    assert "there is no machine to check" in capsys.readouterr().err


# -- without a machine -------------------------------------------------------------------------


def test_a_step_that_takes_too_long_is_a_bad_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def lets_it_pass(_: object, deadline: Deadline) -> NoReturn:
        error = deadline.error()
        assert isinstance(error, DeadlineExceededError)
        raise error

    monkeypatch.setattr(health, "check_login", lets_it_pass)
    host: Any = SimpleNamespace(name="lab7")
    login, *_ = health.examine(host, parse_host("lab7"))
    assert (login.state, login.seen) == ("bad", "login: not done after 60 s")
    assert login.todo == "see what keeps the machine busy, or hangs there"


def test_no_ssh_is_a_bad_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    (finding,) = hosts_check.checked(parse_host("lab7"), None)
    assert (finding.state, finding.seen) == ("bad", "ssh is not installed")
    assert not hosts_check.is_ready([finding])


def test_a_python_that_tells_nothing_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    done = SimpleNamespace(stdout="welcome", stderr="cannot execute: Exec format error")
    monkeypatch.setattr(health, "run_program", lambda *_, **__: done)
    host: Any = SimpleNamespace(name="lab7")
    with pytest.raises(InfrastructureError, match="ran no program") as caught:
        health._facts(host, None)  # type: ignore[arg-type]
    assert "Exec format error" in str(caught.value)


def test_a_machine_without_grub_still_has_the_other_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_grub(*_: object) -> NoReturn:
        raise InfrastructureError("lab7 has no GRUB configuration")

    monkeypatch.setattr(health, "Grub", no_grub)
    host: Any = SimpleNamespace(name="lab7")
    found = health._boot(host, None, parse_host("lab7"))  # type: ignore[arg-type]
    assert found == (
        "note", "has no GRUB configuration", "only --xen-variant=as-is can be used without"
    )  # fmt: skip


@pytest.mark.parametrize("told", [{}, {"free_memory": "some", "total_memory": "8192"}])
def test_an_xl_that_does_not_tell_memory(told: dict[str, str]) -> None:
    assert health._memory(told)[0] == "bad"
