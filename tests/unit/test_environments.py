# SPDX-License-Identifier: MIT
"""Machines that are odd, and on which this simply works."""

from __future__ import annotations

import getpass
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest

from pytest_xenscrub.deadline import Deadline
from pytest_xenscrub.errors import InfrastructureError
from pytest_xenscrub.host import rundir
from pytest_xenscrub.host.emulated import machine, overlay
from pytest_xenscrub.host.emulated.accel import TCG
from pytest_xenscrub.host.emulated.host import EmulatedHost
from pytest_xenscrub.host.emulated.image import Image
from pytest_xenscrub.host.emulated.snapshot import SnapshotStore
from pytest_xenscrub.host.emulated.spec import MachineSpec
from pytest_xenscrub.host.hosts_file import load_hosts
from pytest_xenscrub.host.rundir import RunFolder
from pytest_xenscrub.options import ALL_OPTIONS, read_options
from pytest_xenscrub.report.logs import Logs
from pytest_xenscrub.user import user_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_xenscrub.options import Options

SOCKET_MAX = 107


@pytest.fixture
def short() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="env-", dir="/tmp") as folder:
        yield Path(folder)


@pytest.fixture(autouse=True)
def _nothing_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*os.environ]:
        if name.startswith("PYTEST_XEN_"):
            monkeypatch.delenv(name)
    monkeypatch.setattr(tempfile, "tempdir", None)


def test_a_uid_without_a_name_is_called_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> NoReturn:
        raise KeyError("getpwuid(): uid not found: 4321")

    monkeypatch.setattr(getpass, "getuser", nobody)
    assert user_name() == f"uid {os.getuid()}"


# -- sockets ---------------------------------------------------------------------------------------


def bind_in(folder: RunFolder) -> None:
    """Have a socket where ssh has one: it adds a name of 17 characters to it for a moment."""
    path = str(folder.path / "s") + "." + "x" * 16
    assert len(path) <= SOCKET_MAX
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(path)
    folder.close()


def test_a_long_tmpdir_is_left_for_a_short_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("x" * 120)
    long.mkdir()
    monkeypatch.setenv("TMPDIR", str(long))
    bind_in(RunFolder())
    assert list(long.iterdir()) == []


def test_a_tmpdir_of_other_letters_counts_in_bytes(
    short: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = short / ("ü" * 25)
    odd.mkdir()
    monkeypatch.setenv("TMPDIR", str(odd))
    bind_in(RunFolder())


def test_the_runtime_folder_is_the_last_resort(
    short: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(short))
    monkeypatch.setattr("tempfile.gettempdir", lambda: "/proc/no")
    real = Path.mkdir

    def mkdir(self: Path, *arguments: object, **more: object) -> None:
        if str(self.parent) in ("/tmp", "/var/tmp"):  # noqa: S108 - the usual ones
            raise OSError(30, "Read-only file system", str(self))
        real(self, *arguments, **more)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", mkdir)
        folder = RunFolder()
    assert folder.path.is_relative_to(short)
    folder.close()


# -- the cache -------------------------------------------------------------------------------------


def test_a_machine_that_cannot_be_saved_boots_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    host = EmulatedHost.__new__(EmulatedHost)
    launched: list[Path | None] = []
    said: list[str] = []
    monkeypatch.setattr(host, "_launch", lambda snapshot, _: launched.append(snapshot))
    store = SnapshotStore(tmp_path / "file" / "snapshot")
    monkeypatch.setattr(host, "_store", store, raising=False)
    monkeypatch.setattr(host, "_key", "key", raising=False)
    monkeypatch.setattr(host, "_say", said.append, raising=False)
    host._power_on_as_is(Deadline.after(5, "test"))
    assert launched == [None]
    assert "the cache cannot be written" in said[0]


def test_a_machine_needs_room_on_its_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overlay, "_OVERLAY_BYTES", 1 << 60)
    with pytest.raises(InfrastructureError, match="are free for what dom0 writes to its disk"):
        machine.Machine(
            Image(tmp_path), MachineSpec(), "qemu", TCG, snapshot=None,
            deadline=Deadline.after(5, "test"),
        )  # fmt: skip


def test_a_hosts_ram_needs_no_shared_memory_folder() -> None:
    """Containers often have 64 MiB in /dev/shm, or none."""
    program = (
        "from pytest_xenscrub.host.emulated.ram import Ram\n"
        "ram = Ram(256 << 20)\nram.populate()\n"
        "print(ram.wait_populated(30))\nram.close()\n"
    )
    without = ["unshare", "--user", "--map-root-user", "--mount", "--", "sh", "-c",
               'mount -t tmpfs -o ro,size=4k none /dev/shm && exec "$@"', "-"]  # fmt: skip
    if subprocess.run([*without, "true"], check=False, capture_output=True).returncode:
        pytest.skip("users may have no namespace of their own here")
    done = subprocess.run(
        [*without, sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("True\n", "")


# -- logs ------------------------------------------------------------------------------------------


def test_logs_that_cannot_be_written_are_told_once_and_cost_no_verdict(tmp_path: Path) -> None:
    (tmp_path / "logs").touch()
    said: list[str] = []
    logs = Logs(tmp_path / "logs", said.append)
    logs.console("test_it", "victim", b"hello")
    logs.console("test_it", "victim", b"world")
    assert len(said) == 1
    assert "no more logs are written" in said[0]


# -- paths -----------------------------------------------------------------------------------------


def options(pytester: pytest.Pytester, ini: str, *arguments: str) -> Options:
    """Of a run that is started elsewhere than where its ini file is."""
    lab = pytester.mkdir("lab")
    (lab / "pytest.ini").write_text(f"[pytest]\n{ini}")
    return read_options(pytester.parseconfig("-c", "lab/pytest.ini", *arguments))


NAMES_A_FILE = {option.key: option.beside for option in ALL_OPTIONS if option.beside is not None}


@pytest.mark.parametrize("key", sorted(NAMES_A_FILE))
def test_what_names_a_file_is_relative_to_the_ini_file(key: str) -> None:
    beside = NAMES_A_FILE[key]
    if key in ("power", "serial"):
        assert beside("./switch {host}", Path("/lab")) == "/lab/switch '{host}'"
        assert beside("bin/switch x/y", Path("/lab")) == "/lab/bin/switch x/y"
        return
    if key == "labgrid_client":
        assert beside("labgrid-client", Path("/lab")) == "labgrid-client"
    assert beside("out/file", Path("/lab")) == "/lab/out/file"
    assert beside("/abs/file", Path("/lab")) == "/abs/file"
    assert beside("~/file", Path("/lab")) == "~/file"


def test_every_option_that_names_a_file_is_known_as_one() -> None:
    """One that is added later must not be forgotten."""
    metavars = {"FILE", "FOLDER", "NAME|FILE", "SPEC"}
    assert {option.key for option in ALL_OPTIONS if option.metavar in metavars} | {
        "power", "serial", "labgrid_client",
    } == set(NAMES_A_FILE)  # fmt: skip


def test_results_of_the_ini_file_and_of_the_command_line(pytester: pytest.Pytester) -> None:
    ini = "xen_results = results\nxen_logs = logs\nxen_profile = yes\nxen_source = debian=4.17"
    given = options(pytester, ini, "--xen-logs=logs")
    assert given.results == pytester.path / "lab" / "results"
    assert given.logs == pytester.path / "logs"
    assert given.profile is not None
    assert given.profile.folder is None
    assert given.source == "debian=4.17"


def test_variants_and_repositories_of_the_ini_file(pytester: pytest.Pytester) -> None:
    pytester.mkdir("lab")
    (pytester.path / "lab/a.cocci").touch()
    (pytester.path / "lab/repo").mkdir()
    (pytester.path / "lab/pytest.ini").write_text(
        "[pytest]\nxen_variant =\n  stock\n  a.cocci\nxen_source = repo#v1\n"
    )
    given = read_options(pytester.parseconfig("-c", "lab/pytest.ini"))
    assert given.variant == ("stock", str(pytester.path / "lab/a.cocci"))
    assert given.source == f"{pytester.path}/lab/repo#v1"


def test_programs_of_a_hosts_file_are_beside_it(tmp_path: Path) -> None:
    (tmp_path / "power").write_text("#!/bin/sh\n")
    (tmp_path / "power").chmod(0o755)
    file = tmp_path / "hosts.toml"
    file.write_text(
        '[hosts.lab7]\npower = "./power {action} ./secret a/b"\nserial = "tail ../log"\n'
    )
    (host,) = load_hosts(file)
    assert host.power == (f"{tmp_path}/power", "{action}", f"{tmp_path}/secret", "a/b")
    assert host.serial == ("tail", f"{tmp_path}/../log")


# -- limits on processes ---------------------------------------------------------------------------

NO_FILES = """
import pytest
from pytest_xenscrub.host import rundir

@pytest.fixture
def xen_host():
    return rundir.base_folder()

def test_it(xen_host): pass
def test_again(xen_host): pass
"""


def test_what_the_system_refuses_is_one_sentence(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> NoReturn:
        raise OSError(24, "Too many open files", "a file")

    monkeypatch.setattr(rundir, "_parents", refuse)
    pytester.makepyfile(test_it=NO_FILES)
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider", "--xen-host=emulated")
    result.assert_outcomes(errors=2)
    assert result.ret == 75
    text = result.stdout.str()
    assert "this machine refused something: Too many open files" in text
    assert "next: raise the limit on open files (ulimit -n)" in text
    assert "rundir.py" not in text
