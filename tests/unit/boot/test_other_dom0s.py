# SPDX-License-Identifier: MIT
"""dom0s that are not Debian's: over real ssh, with real programs where these are to be had."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fakehost.machine import OWN, Machine
from fakehost.needs import lacking
from pytest_xenscrub.boot.leftovers import find_leftovers, refuse_busy, remove_leftovers
from pytest_xenscrub.deadline import Deadline
from pytest_xenscrub.errors import HostBusyError
from pytest_xenscrub.host.protocol import CommandResult
from pytest_xenscrub.identity import new_uuid

from .debian12 import CONFIG, DOM0, XEN
from .whole_run import BUILT, Run, boots

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

pytestmark = pytest.mark.usefixtures("nothing_from_outside")

STARTS = ("booted " + BUILT, "xl create", "this machine has no Xen")
"""What a run says that has booted its Xen, and comes as far as its first guest."""


# -- Alpine: busybox and OpenRC, in place of bash, GNU's programs and systemd -------------------


def of_busybox(tmp_path: Path) -> Machine:
    """A machine whose PATH has a real busybox's programs, and none of this machine's."""
    return Machine(
        tmp_path / "lab", grub=CONFIG, dom0_options=DOM0, xen_options=XEN,
        busybox=need_busybox(tmp_path),
    )  # fmt: skip


@pytest.fixture
def alpine(tmp_path: Path) -> Iterator[Machine]:
    """A machine whose shell and programs are those of a real busybox; no bash, no systemctl."""
    machine = of_busybox(tmp_path)
    yield machine
    machine.close()


def need_busybox(folder: Path) -> str:
    """A busybox that runs what is in PATH before its own programs, as Alpine's does."""
    busybox = shutil.which("busybox")
    if busybox is None:
        lacking("busybox is not installed", "apt-get install busybox")
    (folder / "df").write_text("#!/bin/sh\necho faked\n")
    (folder / "df").chmod(0o755)
    said = subprocess.run(
        [busybox, "sh", "-c", "df"], env={"PATH": str(folder)}, capture_output=True, check=False
    )
    if said.stdout != b"faked\n":
        lacking("this busybox runs its own programs first", "apt-get install busybox, not -static")
    return busybox


@pytest.fixture
def machine(request: pytest.FixtureRequest) -> Machine:
    """The machine of `run`, for tests that have another one than Debian's."""
    name = getattr(request, "param", "alpine")
    found: Machine = request.getfixturevalue(name)
    return found


def test_busybox_does_all_that_a_run_sends(run: Run) -> None:
    """A Xen is booted once and the machine's own again, leftovers are removed, nothing is left."""
    has = run.machine.run(
        "for p in bash systemctl; do command -v $p; done; readlink $(which sh) || :"
    )
    assert has.split() == ["busybox"]
    run.machine.run("mkdir /run/xenscrub-0000c1; touch /var/log/xen/xl-xenscrub-0000c1-victim.log")
    said = run.is_an_error(*STARTS)
    assert boots(run.machine) == [OWN, BUILT, OWN]
    assert "removed what a dead run left, /run/xenscrub-0000c1" in said
    assert "removed what a dead run left, /var/log/xen/xl-xenscrub-0000c1-victim.log" in said
    run.left_nothing()


def test_a_run_of_busyboxs_own_xen(run: Run) -> None:
    run.is_an_error("booted " + OWN, "xl create", variant="as-is")
    assert boots(run.machine) == [OWN]
    run.left_nothing()


# -- an old Python --------------------------------------------------------------------------------


@pytest.fixture
def old_python(tmp_path: Path) -> Iterator[Machine]:
    """A machine whose python3 is a real Python 3.6."""
    for path in [shutil.which("python3.6"), *Path.home().glob(".pyenv/versions/3.6.*/bin/python")]:
        command = [str(path), "-c", "import sys; print(sys.version_info[:2], sys.executable)"]
        known = path is not None and subprocess.run(command, capture_output=True, check=False)
        if known and known.stdout.startswith(b"(3, 6) "):
            break
    else:
        pytest.skip("no Python 3.6: put python3.6 in PATH")
    python = known.stdout.decode().split()[2]
    machine = Machine(tmp_path / "lab", grub=CONFIG, dom0_options=DOM0, xen_options=XEN)
    machine.tool("python3", f'exec {python} "$@"')
    yield machine
    machine.close()


@pytest.mark.parametrize("machine", ["old_python"], indirect=True)
def test_python_3_6_runs_all_that_is_sent(run: Run) -> None:
    """The lock, the agent, the look at interface versions; not what only guests are for."""
    assert run.machine.run("python3 -V").startswith("Python 3.6.")
    run.is_an_error(*STARTS)
    assert boots(run.machine) == [OWN, BUILT, OWN]
    run.left_nothing()


# -- Fedora, Qubes, openSUSE: /boot/grub2, grub2-*, entries of the Boot Loader Specification --


@pytest.fixture
def grub2(tmp_path: Path) -> Iterator[Machine]:
    """A machine whose GRUB is Fedora's: kernels are in /boot/loader/entries, Xen in grub.cfg."""
    # This machine's programs may have Debian's grub-editenv.
    machine = of_busybox(tmp_path)
    (machine.folder / "bin/grub-editenv").rename(machine.folder / "bin/grub2-editenv")
    entry = "title Linux\\nlinux /vmlinuz-6.1.0-56-amd64\\n"
    machine.run(
        "mv /boot/grub /boot/grub2; mkdir -p /boot/loader/entries;"
        " printf '\\ninsmod blscfg\\nblscfg\\n' >> /boot/grub2/grub.cfg;"
        f" printf '{entry}' > /boot/loader/entries/6.1.0-56.conf"
    )
    yield machine
    machine.close()


@pytest.mark.parametrize("machine", ["grub2"], indirect=True)
def test_a_xen_is_booted_once_where_grub_is_grub2(run: Run) -> None:
    run.is_an_error(*STARTS)
    assert boots(run.machine) == [OWN, BUILT, OWN]
    run.left_nothing()


@pytest.mark.parametrize("machine", ["grub2"], indirect=True)
def test_a_xen_that_is_not_in_grubs_menu_but_elsewhere_is_an_error(run: Run) -> None:
    """An entry of the specification cannot boot a Xen, so there must be one in grub.cfg."""
    run.machine.run("sed -i 's/multiboot2/linux/' /boot/grub2/grub.cfg")
    run.is_an_error("6.1.0-56-amd64", "update-grub")
    assert boots(run.machine) == [OWN]


# -- XCP-ng: xapi owns the guests -----------------------------------------------------------------

XE_LIST = """\
Name                                        ID   Mem VCPUs	State	Time(s)
Domain-0                                     0  4272     8     r-----  312345.6
Windows Server 2022 (64-bit)                 3  8191     4     -b----   10234.5
xenscrub-like name of a user                 5  1023     1     -b----      12.0
"""
XE_VM_LIST = """\
UUID                                  ID    name
00000000-0000-0000-0000-000000000000  0    Domain-0
6a9b1c1e-42f3-0c61-2d5c-5a4c4d1f8f53  3    Windows Server 2022 (64-bit)
c0ffee00-42f3-4c61-ad5c-5a4c4d1f8f54  5    xenscrub-like name of a user
"""


class XcpNg:
    """A dom0 whose guests were made by `xe`; notes what it was told to do."""

    name = "xcp"

    def __init__(self, ours: str = "") -> None:
        self.told: list[str] = []
        self._ours = ours

    def run(
        self, argv: Sequence[str], *, deadline: Deadline, check: bool = True, stdin: object = None
    ) -> CommandResult:
        self.told.append(" ".join(argv))
        out = {"xl list": XE_LIST, "xl vm-list": XE_VM_LIST + self._ours}.get(self.told[-1], "")
        if self.told[-1].startswith("xl destroy"):
            self._ours = ""
        return CommandResult(tuple(argv), 0, out, "")


def test_guests_that_xe_made_are_foreign() -> None:
    host: Any = XcpNg()
    with pytest.raises(HostBusyError, match=r"Windows Server 2022 \(64-bit\), xenscrub-like name"):
        refuse_busy(host, Deadline.after(5, "looking"))
    assert host.told == ["xl list"]


def test_guests_that_xe_made_are_not_removed_with_a_dead_runs() -> None:
    ours = f"{new_uuid('xenscrub-0000c1')}  9    xenscrub-0000c1-victim-1\n"
    host: Any = XcpNg(ours)
    assert find_leftovers(host, Deadline.after(5, "looking")) == ["xenscrub-0000c1-victim-1"]
    said: list[str] = []
    remove_leftovers(host, Deadline.after(5, "removing"), said.append)
    assert [each for each in host.told if "destroy" in each] == ["xl destroy 9"]
    assert said == ["xcp: destroyed a guest of a dead run, xenscrub-0000c1-victim-1"]
