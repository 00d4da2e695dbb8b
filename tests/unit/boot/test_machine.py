# SPDX-License-Identifier: MIT
"""Runs of pytest that boot a Xen on a machine: over real ssh, and no Xen is there.

Whatever is wrong with the machine is never said of the Xen.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from fakehost.machine import NAME, OWN
from fakelabgrid.fake import FakeLab, holder
from pytest_xenscrub.boot import deploy_ssh

from .debian12 import DOM0, XEN
from .whole_run import BUILT, boots

if TYPE_CHECKING:
    from pathlib import Path

    from .whole_run import Run

SHORT_SECONDS = 6.0

pytestmark = pytest.mark.usefixtures("nothing_from_outside")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine is not waited for as long as a real one takes."""
    monkeypatch.setattr(deploy_ssh, "REBOOT_SECONDS", SHORT_SECONDS)
    monkeypatch.setattr(deploy_ssh, "_GIVE_BACK_BROKEN_SECONDS", 1.0)


def test_a_built_xen_is_booted_once_and_the_run_goes_on_to_its_first_guest(run: Run) -> None:
    said = run.is_an_error("booted " + BUILT, "xl create", "this machine has no Xen")
    assert boots(run.machine) == [OWN, BUILT, OWN]
    assert "lab: booting its own Xen again" in said
    run.left_nothing()


def test_the_same_on_a_place_of_labgrids_whose_name_is_the_hosts(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = FakeLab(tmp_path / "labgrid")
    lab.add("rack1", {"xen": "yes"}, {"NetworkService": {"address": NAME, "username": "root"}})
    monkeypatch.setenv("LG_COORDINATOR", lab.coordinator)
    said = run.is_an_error(
        "booted " + BUILT, "rack1: booting Xen stock once", "this machine has no Xen",
        host="labgrid:xen=yes", arguments=(f"--xen-labgrid-client={lab.program}",),
    )  # fmt: skip
    assert boots(run.machine) == [OWN, BUILT, OWN]
    assert said.index("rack1 is acquired as") < said.index("rack1: booting its own Xen again")
    assert holder(lab, "rack1") == ""
    run.left_nothing()


def test_a_build_id_that_the_kernel_cuts_at_a_zero_byte_is_still_known(run: Run) -> None:
    run.build_id = "c0ff00ee" * 5
    run.is_an_error("booted " + run.build_id, "this machine has no Xen")
    assert boots(run.machine) == [OWN, run.build_id, OWN]


def test_a_reboot_goes_back_to_a_xen_whose_build_id_is_cut(run: Run) -> None:
    own = "00c0ffee" * 5
    run.machine.tell("own", own)
    run.machine.run(f"echo {own} > /boot/xen-4.17-amd64.gz; boot-xen {own}")
    run.is_an_error("booted " + BUILT, "this machine has no Xen")
    assert boots(run.machine) == [OWN, own, BUILT, own]
    run.left_nothing()


# -- the login -------------------------------------------------------------------------------------


def test_a_login_shell_that_prints(run: Run) -> None:
    (run.machine.folder / "home/root/.bashrc").write_text("echo Welcome to lab\n")
    run.is_an_error("its login shell, /bin/bash, prints lines", "[ -t 1 ] || return")


def test_a_user_who_is_not_root(run: Run) -> None:
    run.is_an_error("ssh logs in as alice", "--xen-host=root@HOST", host="alice@lab")


def test_a_python_that_is_too_old(run: Run) -> None:
    run.machine.tool("python3", "echo 3 5")
    run.is_an_error("python3 in dom0 is Python 3.5", "install Python 3.6 or later in dom0")


# -- before the Xen is booted ----------------------------------------------------------------------


def test_no_bindings(run: Run) -> None:
    run.machine.run("rm -r /run/lab/python/xen")
    run.is_an_error("its tools did not show which interface versions", "xen-utils")
    assert boots(run.machine) == [OWN]


def test_no_bindings_for_the_machines_own_xen(run: Run) -> None:
    run.machine.run("rm -r /run/lab/python/xen")
    run.is_an_error("dom0's Python has no Xen bindings", "xen-utils", variant="as-is")
    assert boots(run.machine) == [OWN]


def test_a_full_boot_folder(run: Run) -> None:
    run.machine.run("mount -o remount,size=64k /boot")
    said = run.is_an_error("cat: write error: No space left on device", "/boot", "make room there")
    assert "booting its own Xen again" not in said
    assert boots(run.machine) == [OWN]
    run.left_nothing()


def test_a_kernel_that_is_not_in_grubs_menu(run: Run) -> None:
    run.machine.tell("kernel", "6.1.0-99-amd64")
    run.is_an_error("6.1.0-99-amd64", "update-grub")
    assert boots(run.machine) == [OWN]


# -- the reboot ------------------------------------------------------------------------------------


def test_molly_guard(run: Run) -> None:
    run.machine.tool("reboot", "echo 'Please type in hostname: '; exit 1")
    run.is_an_error("lab does not reboot", "molly-guard")
    run.left_nothing()


@pytest.mark.usefixtures("impatient")
def test_a_reboot_that_does_nothing(run: Run) -> None:
    run.machine.tool("reboot", "exit 0")
    run.is_an_error("still in the same boot", "molly-guard")
    run.left_nothing()


@pytest.mark.usefixtures("impatient")
def test_a_machine_that_does_not_come_back(run: Run) -> None:
    run.machine.tell("dead")
    run.is_an_error("did not come back", "--xen-serial", "no power command")


def test_a_machine_that_is_back_with_its_own_xen(run: Run) -> None:
    run.machine.tell("built-fails")
    run.is_an_error("went back to its own Xen", "for an unknown reason", "--xen-serial")
    assert boots(run.machine) == [OWN, OWN]
    run.left_nothing()


def test_only_a_xen_that_said_so_itself_is_to_blame(run: Run) -> None:
    run.machine.tell("built-fails")
    serial = f"cat {run.machine.folder}/state/serial-log"
    result = run(f"--xen-serial={serial}")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*Xen stock does not come up*", "*Panic on CPU 0*", "FAILED *"])
    run.left_nothing()


# -- once the Xen runs -----------------------------------------------------------------------------


def test_too_little_memory_for_a_guest(run: Run) -> None:
    run.machine.tell("free", str(1 << 20))
    run.is_an_error(
        "a victim of 2.00 GiB is not possible: 1.00 GiB are free", "another --xen-guest-memory",
        arguments=("--xen-guest-memory=2G",),
    )  # fmt: skip
    run.left_nothing()


def test_a_dom0_that_has_all_memory(run: Run) -> None:
    run.machine.tell("free", str(12 << 10))
    run.is_an_error("a victim of", "is not possible", "dom0_mem=4G,max:4G")
    run.left_nothing()


# -- a lab whose boots a command sets --------------------------------------------------------------

BOOT = """\
#!/bin/sh
# pxe STATE HOST ACTION XEN OPTIONS KERNEL KERNEL_OPTIONS INITRD
echo "$2|$3|${4##*/}|$5|$6|$7|$8" >> "$1/pxe"
if [ "$3" = own ]; then rm -f "$1/next-boot"; else cat "$4" > "$1/next-boot"; fi
"""


@pytest.fixture
def pxe(run: Run, tmp_path: Path) -> Path:
    """A hosts file whose machine boots over a network; GRUB has no part in it."""
    (tmp_path / "pxe").write_text(BOOT)
    (tmp_path / "pxe").chmod(0o755)
    run.machine.run("rm /boot/grub/*; touch /boot/vmlinuz-6.1.0-56-amd64")
    run._before = run.machine.run("cd /boot; find | sort")
    return tmp_path / "labs.toml"


def described(pxe: Path, run: Run, action: str = "{action:once=netboot}") -> str:
    state = run.machine.folder / "state"
    words = f"{action} {{xen}} {{options}} {{kernel}} {{kernel_options}} {{initrd}}"
    pxe.write_text(f'[hosts.{NAME}]\nboot = "./pxe {state} {{host}} {words}"\n')
    return f"--xen-hosts-file={pxe}"


def test_a_boot_command_has_all_that_a_boot_server_needs(run: Run, pxe: Path) -> None:
    run.cmdline = "loglvl=all"
    said = run.is_an_error(
        "booted " + BUILT, "this machine has no Xen", arguments=(described(pxe, run),)
    )
    assert boots(run.machine) == [OWN, BUILT, OWN]
    assert "lab: booting its own Xen again" in said
    set_once, set_own = run.machine.read("pxe").splitlines()
    assert set_once == (f"lab|netboot|xen.gz|{XEN} loglvl=all|/boot/vmlinuz-6.1.0-56-amd64|{DOM0}|")
    assert set_own == "lab|own|||||"
    assert run.machine.run("ls /var/lib | grep xenscrub || :") == ""


def test_a_boot_command_that_sets_one_boot_and_knows_no_way_back(run: Run, pxe: Path) -> None:
    run.is_an_error("booted " + BUILT, arguments=(described(pxe, run, "once"),))
    assert boots(run.machine) == [OWN, BUILT, OWN]
    assert len(run.machine.read("pxe").splitlines()) == 1


def test_a_boot_that_is_set_for_good_is_told(run: Run, pxe: Path) -> None:
    run.machine.tell("keeps-next-boot")
    said = run.is_an_error(
        "did not go back to its own Xen", arguments=(described(pxe, run, "once"),)
    )
    assert "that should set one boot, or know the action own" in said
    assert boots(run.machine) == [OWN, BUILT, BUILT]


def test_what_a_dead_run_has_set_is_undone_by_the_next(run: Run, pxe: Path) -> None:
    """A machine that still runs a dead run's Xen must not be tested as its own."""
    run.machine.tell("keeps-next-boot")
    run.machine.tell("next-boot", BUILT)
    run.machine.run(f"echo {OWN} > /var/lib/pytest-xenscrub.boot; boot-xen {BUILT}")
    said = run.is_an_error("booted " + OWN, variant="as-is", arguments=(described(pxe, run),))
    assert "lab: a dead run has set what it boots; its own Xen is to run" in said
    assert boots(run.machine) == [OWN, BUILT, OWN]
    assert run.machine.run("ls /var/lib | grep xenscrub || :") == ""


def test_a_boot_command_that_fails(run: Run, pxe: Path) -> None:
    option = described(pxe, run)
    (pxe.parent / "pxe").write_text("#!/bin/sh\necho the boot server is down; exit 4\n")
    run.is_an_error(
        "lab: setting its next boot: the command returned 4", "the boot server is down",
        arguments=(option,),
    )  # fmt: skip
    assert boots(run.machine) == [OWN]


def test_a_xen_that_a_boot_command_has_set_and_that_dies(run: Run, pxe: Path) -> None:
    run.machine.tell("built-fails")
    run.is_an_error("went back to its own Xen", arguments=(described(pxe, run),))
    serial = f"--xen-serial=cat {run.machine.folder}/state/serial-log"
    result = run(described(pxe, run), serial)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*Xen stock does not come up*", "*Panic on CPU 0*"])


# -- on this machine -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        (
            "newuidmap: write to uid_map failed: Operation not permitted",
            "let users have namespaces",
        ),
        ("E: unshare: Operation not permitted", "--cap-add=SYS_ADMIN"),
        ("mount: /tmp/mmdebstrap.x/proc: permission denied.", "--cap-add=SYS_ADMIN"),
    ],
)
def test_an_emulated_host_whose_image_the_container_refuses(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, hint: str
) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("qemu-system-x86_64", "qemu-img", "mke2fs", "mmdebstrap"):
        path = programs / name
        path.write_text(f"#!/bin/sh\necho '{said}' >&2\nexit 1\n")
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    run.is_an_error("mmdebstrap returned 1", said, hint, host="emulated")
