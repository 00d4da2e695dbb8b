# SPDX-License-Identifier: MIT
"""An emulated host whose QEMU, image, cache or locks fail: who is blamed, and what goes on."""

from __future__ import annotations

import asyncio
import errno
import inspect
import mmap
import os
import socket
import struct
import subprocess
import tempfile
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NoReturn
from unittest.mock import MagicMock

import pytest
from filelock import FileLock

from pytest_xenscrub.cache_folder import CacheUnusableError, cache_root, writing
from pytest_xenscrub.deadline import Deadline
from pytest_xenscrub.errors import (
    DeadlineExceededError,
    InfrastructureError,
    XenFaultError,
)
from pytest_xenscrub.host import rundir
from pytest_xenscrub.host.emulated import accel, image, image_recipe
from pytest_xenscrub.host.emulated import host as host_module
from pytest_xenscrub.host.emulated.accel import KVM, TCG
from pytest_xenscrub.host.emulated.build_once import build_once, locked
from pytest_xenscrub.host.emulated.bzimage import unpack_kernel
from pytest_xenscrub.host.emulated.host import EmulatedHost
from pytest_xenscrub.host.emulated.image import Image
from pytest_xenscrub.host.emulated.machine import Machine
from pytest_xenscrub.host.emulated.outside import EmulatedOutside
from pytest_xenscrub.host.emulated.qmp import Qmp
from pytest_xenscrub.host.emulated.ram import Ram
from pytest_xenscrub.host.emulated.snapshot import SnapshotStore
from pytest_xenscrub.host.emulated.spec import MachineSpec
from pytest_xenscrub.outside.ram import RamView

if TYPE_CHECKING:
    from collections.abc import Sequence


def raising(error: BaseException) -> Any:
    return MagicMock(side_effect=error)


def soon(seconds: float = 10) -> Deadline:
    return Deadline.after(seconds, "a step")


# -- its life --------------------------------------------------------------------------------------


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def host(tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch) -> EmulatedHost:
    """A host that is not started."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(host_module, "qemu_path", lambda: "qemu")
    monkeypatch.setattr(host_module, "qemu_version", lambda _: "1")
    monkeypatch.setattr(host_module, "snapshot_key", lambda *_: "key")
    return EmulatedHost(MachineSpec(), Image(tmp_path), said.append, 60, "tcg")


ENDS = [XenFaultError("Xen panicked"), InfrastructureError("QEMU ended"), KeyboardInterrupt()]


@pytest.mark.parametrize("error", ENDS)
def test_a_machine_that_does_not_come_up_is_powered_off(
    host: EmulatedHost, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = MagicMock()
    machine.wait_banner.side_effect = error
    monkeypatch.setattr(host_module, "Machine", lambda *_, **__: machine)
    with pytest.raises(type(error)) as caught:
        host._launch(None, soon())
    assert caught.value is error
    machine.close.assert_called_once()


@pytest.mark.parametrize("error", ENDS)
def test_a_host_that_does_not_start_is_closed(
    error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = []
    monkeypatch.setattr(host_module, "ensure_image", lambda *_, **__: Image(tmp_path))
    monkeypatch.setattr(EmulatedHost, "__init__", MagicMock(return_value=None))
    monkeypatch.setattr(EmulatedHost, "_power_on", raising(error))
    monkeypatch.setattr(EmulatedHost, "close", lambda _: closed.append("closed"))
    with pytest.raises(type(error)) as caught:
        EmulatedHost.start(MachineSpec(), say=print, deadline=soon())
    assert caught.value is error
    assert len(closed) == 1


@pytest.mark.parametrize(
    "error",
    [
        XenFaultError("dom0 panicked"),
        InfrastructureError("no RAM"),
        OSError("torn"),
        ValueError("x"),
    ],
)
def test_a_saved_machine_that_cannot_be_used_is_dropped_and_told(
    host: EmulatedHost, said: list[str], error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = MagicMock()
    monkeypatch.setattr(host, "_store", store)
    monkeypatch.setattr(host, "_launch", raising(error))
    assert not host._try_warm(soon())
    store.drop.assert_called_once_with("key")
    assert said == [f"the saved host cannot be used, so it boots anew: {error}"]


def test_a_saved_machine_that_took_all_time_is_not_booted_anew(
    host: EmulatedHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "_store", MagicMock())
    monkeypatch.setattr(host, "_launch", raising(InfrastructureError("slow")))
    with pytest.raises(DeadlineExceededError):
        host._try_warm(soon(0))


@pytest.mark.parametrize("error", [InfrastructureError("dom0 is not idle"), OSError("no room")])
def test_a_host_that_cannot_be_saved_runs_on(
    host: EmulatedHost, said: list[str], error: Exception
) -> None:
    ssh = MagicMock()
    ssh.run.side_effect = error
    machine: Any = MagicMock()
    host._machine, host._ssh = machine, ssh
    host._save(soon())
    assert said == [f"the booted host could not be saved, so the next boots too: {error}"]
    machine.check_alive.side_effect = InfrastructureError("QEMU has ended")
    with pytest.raises(InfrastructureError, match="QEMU has ended"):
        host._save(soon())


def test_xens_symbols_that_dom0_does_not_tell_in_time_are_not_xens_fault(
    host: EmulatedHost,
) -> None:
    def lets_it_pass(_: Sequence[str], *, deadline: Deadline, check: bool) -> NoReturn:
        raise deadline.error()

    machine: Any = MagicMock()
    ssh: Any = SimpleNamespace(run=lets_it_pass, close=lambda: None)
    host._machine, host._ssh = machine, ssh
    with pytest.raises(DeadlineExceededError, match="reading Xen's symbols"):
        host._listed_symbols()


# -- QEMU ------------------------------------------------------------------------------------------


@pytest.fixture
def monitor(tmp_path: Path) -> Any:
    """A machine whose QEMU is faked."""
    machine = Machine.__new__(Machine)
    machine.process, machine.folder = None, tmp_path
    machine.standing = MagicMock()
    machine.standing.stood_seconds.return_value = 0.0
    (tmp_path / "qmp").touch()
    return machine


def test_a_qemu_that_has_ended_tells_so_in_place_of_its_broken_monitor(
    monitor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = InfrastructureError("QEMU refused cont")
    ended = InfrastructureError("QEMU has ended")
    monitor._qmp = SimpleNamespace(execute=raising(broken))
    monkeypatch.setattr("pytest_xenscrub.host.emulated.machine.Qmp", raising(broken))
    for check_alive, told in ((raising(ended), ended), (MagicMock(), broken)):
        monkeypatch.setattr(monitor, "check_alive", check_alive, raising=False)
        with pytest.raises(InfrastructureError) as caught:
            monitor.qmp("cont")
        assert caught.value is told
        monkeypatch.setattr(monitor, "check_alive", MagicMock(side_effect=[None, told]))
        monkeypatch.setattr(monitor, "check_alive", check_alive)
        with pytest.raises(InfrastructureError) as caught:
            monitor._connect(soon())
        assert caught.value is told


def test_a_dom0_that_refuses_connections_is_waited_for(
    monitor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitor, "_serial", lambda: b"", raising=False)
    monkeypatch.setattr(monitor, "_check_booting", lambda: None, raising=False)
    monkeypatch.setattr(monitor, "_disk_bytes", lambda: 0, raising=False)
    with socket.create_server(("127.0.0.1", 0)) as server:
        monitor.port = server.getsockname()[1]
    with pytest.raises(DeadlineExceededError, match="a step"):
        monitor.wait_banner(soon(0.3))


def test_a_monitor_that_is_not_there_is_infrastructure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed, close = [], asyncio.Runner.close

    def note(runner: asyncio.Runner) -> None:
        closed.append(runner)
        close(runner)

    monkeypatch.setattr(asyncio.Runner, "close", note)
    with pytest.raises(InfrastructureError, match="monitor does not answer") as caught:
        Qmp(tmp_path / "qmp", soon(0.2))
    assert caught.value.tried == str(tmp_path / "qmp")
    assert len(closed) == 1


@pytest.mark.parametrize("error", [TimeoutError("slow"), ConnectionResetError("gone")])
def test_what_the_monitor_does_not_do_is_infrastructure(error: Exception) -> None:
    qmp = Qmp.__new__(Qmp)

    def run(work: Any) -> NoReturn:
        work.close()
        raise error

    runner: Any = SimpleNamespace(run=run)
    client: Any = SimpleNamespace(execute=lambda *_: None)
    qmp._runner, qmp._lock, qmp._client = runner, threading.Lock(), client
    with pytest.raises(InfrastructureError, match="QEMU refused stop"):
        qmp.execute("stop")


def test_a_monitor_that_is_gone_is_closed_all_the_same() -> None:
    qmp = Qmp.__new__(Qmp)
    runner: Any = MagicMock()

    def run(work: Any) -> NoReturn:
        work.close()
        raise asyncio.CancelledError

    runner.run = run
    client: Any = SimpleNamespace(disconnect=lambda: None)
    qmp._runner, qmp._client = runner, client
    qmp.close()
    runner.close.assert_called_once()


def test_cpus_that_qemu_does_not_tell_of_are_told_as_that() -> None:
    machine: Any = SimpleNamespace(qmp=raising(InfrastructureError("QEMU has ended")))
    outside = EmulatedOutside(lambda: machine, None, MagicMock())
    assert outside.where_cpus_are() == "QEMU has ended"


@pytest.mark.parametrize(
    "error", [OSError("no such program"), subprocess.TimeoutExpired("qemu", 10)]
)
def test_a_qemu_that_does_not_try_kvm_means_tcg(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    best_accel = inspect.unwrap(accel.best_accel)
    monkeypatch.setattr(os, "access", lambda *_: True)
    run = MagicMock(return_value=SimpleNamespace(returncode=0))
    monkeypatch.setattr(subprocess, "run", run)
    assert best_accel("qemu") is KVM
    assert 0 < run.call_args.kwargs["timeout"] <= 60
    monkeypatch.setattr(subprocess, "run", raising(error))
    assert best_accel("qemu") is TCG


# -- its image and caches --------------------------------------------------------------------------


@pytest.mark.parametrize("error", [OSError("no apt"), subprocess.TimeoutExpired("apt", 10)])
def test_where_apt_cannot_be_asked_its_defaults_are_used(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = raising(error)
    monkeypatch.setattr(subprocess, "run", run)
    assert image_recipe.apt_sources("bookworm") == []
    assert 0 < run.call_args.kwargs["timeout"] <= 600


def test_a_lock_that_another_run_holds_for_too_long_is_not_xens(
    tmp_path: Path, said: list[str]
) -> None:
    path = tmp_path / "image.lock"
    with (
        FileLock(path, is_singleton=False),
        pytest.raises(DeadlineExceededError, match="a step") as caught,
        locked(path, soon(0.2), said.append),
    ):
        pytest.fail("it is held by two")
    assert caught.value.evidence["lock"] == str(path)
    assert said == ["another run holds image.lock: waiting"]


@pytest.mark.parametrize("magic", [b"\xfd7zXZ", b"\x1f\x8b"])
def test_a_kernel_that_cannot_be_unpacked_is_none(magic: bytes) -> None:
    image = bytearray(0x1000)
    image[0x202:0x206], image[0x1F1] = b"HdrS", 1
    image[0x248:0x250] = struct.pack("<II", 0, 64)
    image[1024 : 1024 + len(magic)] = magic
    assert unpack_kernel(bytes(image)) is None


def test_a_file_system_without_locks_is_told() -> None:
    with pytest.raises(CacheUnusableError, match="has no locks"), writing(Path("/cache/entry")):
        raise NotImplementedError


def test_a_uid_without_a_home_has_no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platformdirs.user_cache_path", raising(RuntimeError("no home")))
    with pytest.raises(CacheUnusableError, match="no folder for caches"):
        cache_root()


def refuse(*_: object) -> NoReturn:
    raise PermissionError(13, "Permission denied")


def test_a_time_of_use_that_cannot_be_written_changes_nothing(
    tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "utime", refuse)
    folder = tmp_path / "image"
    folder.mkdir()
    build_once(folder, lambda _: pytest.fail("built again"), say=said.append, deadline=soon())
    monkeypatch.setattr(image, "_image_folder", lambda *_, **__: folder)
    assert image.ensure_image("bookworm", say=said.append, deadline=soon()).folder == folder
    store = SnapshotStore()
    monkeypatch.setattr(store, "root", tmp_path)
    assert store.find("image") == folder


def test_memory_without_huge_pages_is_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mmap, "mmap", Small)
    memory = Ram(1 << 20)
    seen: Any = SimpleNamespace(fd=memory.fd, size=1 << 20, extents=[(0, 0, 1 << 20)], sparse=False)
    assert RamView(seen).pages.shape == (256, 512)
    memory.close()


class Small(mmap.mmap):
    """Memory of a kernel that has no huge pages."""

    def madvise(self, *_: object) -> NoReturn:
        raise OSError(errno.EINVAL, "Invalid argument")


def test_a_machine_that_did_not_boot_is_off_before_another_is_tried(
    host: EmulatedHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine: Any = MagicMock()
    host._machine = machine
    monkeypatch.setattr(host, "_power_on_as_is", raising(XenFaultError("Xen panicked")))
    with pytest.raises(XenFaultError):
        host._power_on_with(TCG, soon())
    machine.close.assert_called_once()


def test_no_folder_for_temporary_files_is_not_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "gettempdir", raising(FileNotFoundError("none can be written")))
    assert "/var/tmp" in rundir._parents()  # noqa: S108 - as the package has it
