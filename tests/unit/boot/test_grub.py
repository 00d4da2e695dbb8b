# SPDX-License-Identifier: MIT
"""A deploy to a machine that is a folder."""

from __future__ import annotations

import re
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.boot import reboot
from pytest_xenscrub.boot.came_up import last_words
from pytest_xenscrub.boot.grub import OneShotBoot
from pytest_xenscrub.boot.grub_entry import BootEntry
from pytest_xenscrub.boot.reboot import wait_for_boot
from pytest_xenscrub.deadline import Deadline
from pytest_xenscrub.errors import (
    CommandError,
    ConfigurationError,
    DeadlineExceededError,
    HostUnusableError,
    InfrastructureError,
    UndecidedError,
    XenFaultError,
)
from pytest_xenscrub.host.protocol import CommandResult

from .debian12 import CONFIG, DOM0, OWN, XEN

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

BANNER = "(XEN) Xen version 4.17.5 (Debian) debug=n\n"
OURS = "c0ffee" * 6 + "c0ff"
"""Build id of the Xen that is deployed."""


@dataclass(frozen=True)
class Hypervisor:
    gz: Path
    build_id: str = OURS


class FolderHost:
    """A machine whose commands run here, on a folder in place of its /boot.

    Attributes:
        boots: what each reboot brings up, in order: a build id, or "GRUB" for what GRUB chooses.
    """

    name = "lab7"
    kind = "real"
    outside = None

    def __init__(self, top: Path) -> None:
        self.top = top
        self.boot_id = 0
        self.build_id = OWN
        self.boots: list[str] = []
        self.serial = ""
        self.says = ""
        self.file_system = "/dev/sda1 ext4"
        self.up = True
        self.disconnected = 0
        self.bin = top / "bin"
        boot = top / "boot/grub"
        boot.mkdir(parents=True)
        (boot / "grub.cfg").write_text(CONFIG)
        (boot / "grubenv").write_text("saved_entry=x\n")
        (boot.parent / "xen-4.17-amd64.gz").touch()
        self.bin.mkdir()
        self.tool("uname", "echo 6.1.0-56-amd64")
        self.tool("xl", f"echo 'xen_commandline        : {XEN}'")
        self.tool("df", 'echo "$FILE_SYSTEM 1 1 1 1% /"')
        self.tool(
            "grub-editenv",
            'case $2 in list) cat "$1";; '
            'set) sed -i "/^${3%%=*}=/d" "$1"; echo "$3" >> "$1";; '
            'unset) sed -i "/^$3=/d" "$1";; esac',
        )
        self.tool("reboot", f"touch {top}/rebooting")
        self.tool("sync", ":")

    def tool(self, name: str, script: str) -> None:
        path = self.bin / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    @property
    def environment(self) -> Path:
        return self.top / "boot/grub/grubenv"

    def files(self) -> dict[str, str]:
        boot = self.top / "boot"
        return {str(p.relative_to(boot)): p.read_text() for p in boot.rglob("*") if p.is_file()}

    def run(
        self,
        argv: Sequence[str],
        *,
        deadline: Deadline,
        check: bool = True,
        stdin: bytes | None = None,
    ) -> CommandResult:
        assert not deadline.passed
        if not self.up:
            raise InfrastructureError("lab7 does not answer")
        here = [re.sub(r"/boot\b", f"{self.top}/boot", word) for word in argv]
        for path, text in (
            ("/proc/sys/kernel/random/boot_id", f"boot-{self.boot_id}\n"),
            ("/proc/cmdline", f"{DOM0}\n"),
        ):
            file = self.top / path.rpartition("/")[2]
            file.write_text(text)
            here = [word.replace(path, str(file)) for word in here]
        note = self.top / "buildid"
        note.write_bytes(bytes.fromhex(self.build_id))
        here = [word.replace("/sys/hypervisor/properties/buildid", str(note)) for word in here]
        done = subprocess.run(
            here,
            input=stdin or b"",
            capture_output=True,
            check=False,
            env={"PATH": f"{self.bin}:/usr/bin:/bin", "FILE_SYSTEM": self.file_system},
        )
        if check and done.returncode:
            raise CommandError(f"returned {done.returncode}: {done.stderr.decode()}")
        if (self.top / "rebooting").exists():
            (self.top / "rebooting").unlink()
            self.reboot()
        stdout = done.stdout.decode().replace(str(self.top), "")
        return CommandResult(tuple(argv), done.returncode, stdout, done.stderr.decode())

    def reboot(self) -> None:
        self.boot_id += 1
        self.serial += self.says
        wanted = "next_entry=pytest-xenscrub" in self.environment.read_text()
        chosen = self.boots.pop(0) if self.boots else "GRUB"
        self.build_id = (OURS if wanted else OWN) if chosen == "GRUB" else chosen
        if wanted and chosen != "ignored":
            text = self.environment.read_text()
            lines = [line for line in text.splitlines() if not line.startswith("next_entry")]
            self.environment.write_text("\n".join([*lines, "next_entry="]) + "\n")
        if chosen == "ignored":
            self.build_id = OWN
        self.up = chosen != "dead"

    def put(self, local: Path, remote: str, *, deadline: Deadline) -> None:
        (self.top / remote.lstrip("/")).write_bytes(local.read_bytes())

    def disconnect(self) -> None:
        self.disconnected += 1

    def popen(self, argv: Sequence[str]) -> subprocess.Popen[bytes]:
        raise NotImplementedError

    def ssh_command(self, argv: Sequence[str], *, tty: bool = False) -> list[str]:
        raise NotImplementedError

    def serial_tail(self, lines: int = 20) -> str:
        return self.serial

    def close(self) -> None:
        pass


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FolderHost:
    monkeypatch.setattr(reboot, "_PAUSE_SECONDS", 0.01)
    return FolderHost(tmp_path / "machine")


@pytest.fixture
def hypervisor(tmp_path: Path) -> Hypervisor:
    gz = tmp_path / "xen.gz"
    gz.write_text("a hypervisor")
    return Hypervisor(gz)


def soon(seconds: float = 20) -> Deadline:
    return Deadline.after(seconds, "deploy")


def test_boot_and_restore(host: FolderHost, hypervisor: Hypervisor) -> None:
    before = host.files()
    one_shot = OneShotBoot(host, hypervisor, xen_cmdline="watchdog", tag="t")
    assert one_shot.boot(soon()).build_id == OURS
    files = host.files()
    assert files["pytest-xenscrub-t.gz"] == "a hypervisor"
    assert "if ! multiboot2 /boot/pytest-xenscrub-t.gz placeholder" in files["grub/custom.cfg"]
    assert files["grub/grub.cfg"] == CONFIG
    assert host.disconnected
    assert one_shot.restore(soon()).build_id == OWN
    assert host.files() == before
    boot_id = host.boot_id
    assert one_shot.restore(soon()).build_id == OWN
    assert host.boot_id == boot_id


def test_another_process_restores_what_it_never_booted(
    host: FolderHost, hypervisor: Hypervisor
) -> None:
    (host.top / "boot/grub/custom.cfg").write_text("# mine")
    host.environment.write_text("next_entry=\n")
    before = host.files()
    OneShotBoot(host, hypervisor, tag="t").boot(soon())
    OneShotBoot(host, hypervisor, tag="t").boot(soon())
    assert host.files()["grub/custom.cfg"].count("menuentry ") == 1
    assert OneShotBoot(host, hypervisor, tag="t").restore(soon()).build_id == OWN
    assert host.files() == before


@pytest.mark.parametrize("runs", [OURS, OWN])
def test_an_entry_of_an_unknown_hypervisor_is_removed(
    runs: str, host: FolderHost, hypervisor: Hypervisor
) -> None:
    before = host.files()
    OneShotBoot(host, hypervisor, tag="t").boot(soon())
    host.build_id = runs
    boots = host.boot_id
    assert BootEntry(host, "t").remove(soon()).build_id == OWN
    assert host.files() == before
    assert host.boot_id == boots + (runs == OURS)


def test_a_file_alone_is_removed_without_a_reboot(host: FolderHost) -> None:
    before = host.files()
    (host.top / "boot/pytest-xenscrub-t.gz").touch()
    BootEntry(host, "t").remove(soon())
    assert host.files() == before
    assert host.boot_id == 0


def test_the_own_xen_instead_of_ours_is_an_error_with_both_build_ids(
    host: FolderHost, hypervisor: Hypervisor
) -> None:
    before = host.files()
    host.boots = [OWN]
    host.serial = "(XEN) Panic on CPU 7\nlong ago\nlogin:"
    host.says = f"{BANNER}(XEN) Panic on CPU 0\n{BANNER}"
    one_shot = OneShotBoot(host, hypervisor, tag="t")
    with pytest.raises(XenFaultError, match=f"{OWN}, not {OURS}") as caught:
        one_shot.boot(soon())
    assert "Panic on CPU 0" in str(caught.value)
    one_shot.restore(soon())
    assert host.files() == before


@pytest.mark.parametrize(
    ("says", "why", "todo"),
    [
        ("", "for an unknown reason", "--xen-serial"),
        (BANNER, "for an unknown reason", "--xen-serial"),
        (f"{BANNER}*** Serial input to DOM0\n{BANNER}", "for an unknown reason", "sync_console"),
        (f"pytest-xenscrub: GRUB cannot load this hypervisor\n{BANNER}", "not load", "what GRUB"),
    ],
)
def test_the_own_xen_instead_of_ours_is_undecided_where_ours_is_not_seen_to_die(
    says: str, why: str, todo: str, host: FolderHost, hypervisor: Hypervisor
) -> None:
    host.boots = [OWN]
    host.says = says
    with pytest.raises(UndecidedError, match=why) as caught:
        OneShotBoot(host, hypervisor, tag="t").boot(soon())
    assert todo in caught.value.todo


def test_a_machine_that_never_goes_down_is_not_blamed_on_xen(
    host: FolderHost, hypervisor: Hypervisor
) -> None:
    """As molly-guard or an inhibitor has it: the command returns, and nothing happens."""
    host.tool("reboot", ":")
    with pytest.raises(InfrastructureError, match="still in the same boot") as caught:
        OneShotBoot(host, hypervisor, tag="t").boot(soon(4))
    assert "molly-guard" in caught.value.todo


def test_a_third_xen_is_an_error(host: FolderHost, hypervisor: Hypervisor) -> None:
    host.boots = ["33" * 20]
    with pytest.raises(InfrastructureError, match=f"{'33' * 20}, not {OURS}"):
        OneShotBoot(host, hypervisor, tag="t").boot(soon())


def test_a_grub_that_ignores_the_entry_is_an_error(
    host: FolderHost, hypervisor: Hypervisor
) -> None:
    before = host.files()
    host.boots = ["ignored"]
    one_shot = OneShotBoot(host, hypervisor, tag="t")
    with pytest.raises(InfrastructureError, match="did not use its one-shot entry"):
        one_shot.boot(soon())
    boots = host.boot_id
    one_shot.restore(soon())
    assert (host.files(), host.boot_id) == (before, boots)


def test_a_machine_that_does_not_come_back(host: FolderHost, hypervisor: Hypervisor) -> None:
    before = host.files()
    host.boots = ["dead"]
    host.build_id = OWN
    one_shot = OneShotBoot(host, hypervisor, tag="t")
    with pytest.raises(DeadlineExceededError, match="did not come back within 4 s") as caught:
        one_shot.boot(soon(4))
    assert "does not answer" in str(caught.value)
    with pytest.raises(DeadlineExceededError):
        one_shot.restore(soon(0.2))
    host.up = True
    host.reboot()
    assert one_shot.restore(soon()).build_id == OWN
    assert host.files() == before


def test_a_machine_that_did_not_go_back(host: FolderHost, hypervisor: Hypervisor) -> None:
    one_shot = OneShotBoot(host, hypervisor, tag="t")
    one_shot.boot(soon())
    host.boots = [OURS]
    with pytest.raises(InfrastructureError, match=f"runs {OURS}, and it ran {OWN}"):
        one_shot.restore(soon())


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (lambda h: h.environment.unlink(), "grub-editenv /boot/grub/grubenv create"),
        (lambda h: h.environment.write_text("next_entry=theirs\n"), "unset next_entry"),
        (lambda h: setattr(h, "file_system", "/dev/mapper/vg-root ext4"), "plain partition"),
        (lambda h: setattr(h, "file_system", "/dev/sda2 btrfs"), "plain partition"),
        (lambda h: (h.top / "boot/grub/grub.cfg").unlink(), "GRUB boots the machine"),
        (lambda h: (h.top / "boot/grub/grub.cfg").write_text("# empty"), "GRUB_DEFAULT=saved"),
        (lambda h: (h.top / "boot/xen-4.17-amd64.gz").unlink(), "mount the boot partition"),
        (lambda h: setattr(h, "build_id", ""), "into its own Xen"),
    ],
)
def test_a_machine_that_is_not_set_up_is_left_as_it_is(
    break_it: object, said: str, host: FolderHost, hypervisor: Hypervisor
) -> None:
    assert callable(break_it)
    break_it(host)
    before = host.files()
    with pytest.raises((ConfigurationError, InfrastructureError)) as caught:
        OneShotBoot(host, hypervisor, tag="t").boot(soon())
    assert said in caught.value.todo
    assert host.files() == before
    assert host.boot_id == 0


def test_an_entry_that_cannot_be_set_is_an_error(host: FolderHost, hypervisor: Hypervisor) -> None:
    before = host.files()
    host.tool("grub-reboot", ":")
    one_shot = OneShotBoot(host, hypervisor, tag="t")
    with pytest.raises(InfrastructureError, match="was set, but is None"):
        one_shot.boot(soon())
    one_shot.restore(soon())
    assert host.files() == before


def test_a_reboot_that_fails_is_an_error(host: FolderHost, hypervisor: Hypervisor) -> None:
    before = host.files()
    host.tool("reboot", "echo 'not allowed' >&2; exit 1")
    one_shot = OneShotBoot(host, hypervisor, tag="t")
    with pytest.raises(InfrastructureError, match="does not reboot") as caught:
        one_shot.boot(soon())
    assert "not allowed" in str(caught.value)
    one_shot.restore(soon())
    assert host.files() == before


def test_a_last_question_that_is_cut_off_tells_nothing_of_the_machine(
    host: FolderHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was in the same boot a moment before, and so it did not fail to come back."""
    host.tool("reboot", ":")
    before = reboot.running(host, soon())
    deadline = soon(2)
    answers = [before]

    def running(_host: FolderHost, step: Deadline) -> reboot.Running:
        if answers:
            return answers.pop()
        time.sleep(deadline.remaining)
        raise step.error()

    monkeypatch.setattr(reboot, "running", running)
    with pytest.raises(InfrastructureError, match="still in the same boot"):
        reboot.reboot(host, before, deadline)


def test_the_last_words_are_those_of_our_boot() -> None:
    log = "Panic on CPU 7\nLoading a.gz ...\n(XEN) hello\nPanic on CPU 0\nwhy\nLoading xen.gz\n"
    assert last_words(log + "own\n" * 50, "a.gz").splitlines()[1:4] == [
        "(XEN) hello",
        "Panic on CPU 0",
        "why",
    ]
    assert last_words("own\n" * 50, "a.gz") == "\n".join(["own"] * 40)


def test_a_host_that_was_given_up_is_not_waited_for(
    host: FolderHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> CommandResult:
        raise HostUnusableError("given up")

    monkeypatch.setattr(host, "run", broken)
    with pytest.raises(HostUnusableError):
        wait_for_boot(host, None, soon())


def test_a_tag_is_part_of_a_file_name(host: FolderHost, hypervisor: Hypervisor) -> None:
    with pytest.raises(ConfigurationError, match="part of a file's name"):
        OneShotBoot(host, hypervisor, tag="a/b")


ZERO = "c0ffee00" + OURS[8:]


def test_a_build_id_that_the_kernel_cut_is_asked_for_elsewhere(
    host: FolderHost, hypervisor: Hypervisor
) -> None:
    host.boots = ["c0ffee"]
    host.tool("xl", f"echo 'xen_commandline : {XEN}'; echo 'build_id               : {ZERO}'")
    host.build_id = ZERO[:6]
    assert reboot.running(host, soon()).build_id == ZERO


def test_a_cut_build_id_proves_nothing(host: FolderHost, hypervisor: Hypervisor) -> None:
    host.boots = ["c0ffee"]
    ours = Hypervisor(hypervisor.gz, ZERO)
    with pytest.raises(
        InfrastructureError, match="build id cut at a zero byte, which proves nothing"
    ):
        OneShotBoot(host, ours, tag="t").boot(soon())


def test_a_cut_build_id_of_another_xen_is_told_as_another(
    host: FolderHost, hypervisor: Hypervisor
) -> None:
    host.boots = ["abcd"]
    with pytest.raises(InfrastructureError, match="runs build id abcd, not"):
        OneShotBoot(host, Hypervisor(hypervisor.gz, ZERO), tag="t").boot(soon())


def test_xl_of_another_xen_does_not_outvote_the_kernel(host: FolderHost) -> None:
    host.tool("xl", f"echo 'build_id               : {'11' * 20}'")
    assert reboot.running(host, soon()).build_id == OWN
