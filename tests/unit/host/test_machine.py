# SPDX-License-Identifier: MIT
from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from pytest_xenscrub.deadline import Deadline
from pytest_xenscrub.errors import InfrastructureError, XenFaultError
from pytest_xenscrub.host.emulated.accel import TCG
from pytest_xenscrub.host.emulated.image import Image
from pytest_xenscrub.host.emulated.machine import Machine
from pytest_xenscrub.host.emulated.outside import EmulatedOutside
from pytest_xenscrub.host.emulated.spec import MachineSpec
from pytest_xenscrub.host.emulated.standing import Standing
from pytest_xenscrub.host.symbols import Symbols


@pytest.fixture
def image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Image:
    """An image, and a qemu-img that does nothing."""
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr("pytest_xenscrub.host.rundir._BASE_MAX", 200)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    tool(tmp_path, "qemu-img", "exit 0")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return Image(tmp_path)


def tool(folder: Path, name: str, script: str) -> str:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_a_qemu_that_exits_shows_what_it_said(image: Image, tmp_path: Path) -> None:
    qemu = tool(tmp_path, "qemu", "echo 'qemu: cannot do that' >&2; exit 1")
    with pytest.raises(InfrastructureError, match="return code 1") as caught:
        Machine(
            image, MachineSpec(memory_bytes=1 << 20), qemu, TCG,
            snapshot=None, deadline=Deadline.after(10, "start"),
        )  # fmt: skip
    assert "cannot do that" in str(caught.value)
    assert not list(tmp_path.glob("xenscrub-*"))


def test_a_disk_that_cannot_be_made_leaves_nothing(image: Image, tmp_path: Path) -> None:
    tool(tmp_path, "qemu-img", "echo 'no space' >&2; exit 1")
    with pytest.raises(InfrastructureError, match="overlay") as caught:
        Machine(
            image, MachineSpec(memory_bytes=1 << 20), "qemu", TCG,
            snapshot=None, deadline=Deadline.after(10, "start"),
        )  # fmt: skip
    assert "no space" in str(caught.value)
    assert not list(tmp_path.glob("xenscrub-*"))


def test_a_dom0_that_is_slow_to_answer_is_given_more_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine sshd says its name after seconds: who hangs up before never hears it."""
    machine = Machine.__new__(Machine)
    machine.process = None
    machine.standing = Standing(machine.qmp)
    monkeypatch.setattr(machine, "_serial", lambda: b"", raising=False)
    monkeypatch.setattr(machine, "_check_booting", lambda: None, raising=False)
    monkeypatch.setattr(machine, "_disk_bytes", lambda: 0, raising=False)
    machine.folder = Path("/nowhere")
    with socket.create_server(("127.0.0.1", 0)) as server:
        machine.port = server.getsockname()[1]

        def answer() -> None:
            with contextlib.suppress(OSError):  # the server is shut down
                while True:
                    link, _ = server.accept()
                    with link, contextlib.suppress(ConnectionError):
                        time.sleep(1.4)
                        link.sendall(b"SSH-2.0-slow\r\n")

        answering = threading.Thread(target=answer)
        answering.start()
        machine.wait_banner(Deadline.after(30, "the banner"))
        server.shutdown(socket.SHUT_RDWR)
        answering.join(10)
        assert not answering.is_alive()


@pytest.mark.parametrize("starved", [False, True])
def test_a_soft_lockup_while_it_boots_is_xens_unless_the_machine_was_starved(
    monkeypatch: pytest.MonkeyPatch, starved: bool
) -> None:
    log = b"(XEN) Xen version 4.17\n[ 222.9] watchdog: BUG: soft lockup - CPU#1 stuck for 22s!\n"
    machine = Machine.__new__(Machine)
    machine.process = machine.ended = None
    machine._chosen = True
    machine._watch = SimpleNamespace(starved=starved)  # type: ignore[assignment]
    monkeypatch.setattr(machine, "_serial", lambda: log, raising=False)
    with contextlib.nullcontext() if starved else pytest.raises(XenFaultError, match="crashed"):
        machine._check_booting()


def test_a_machine_that_we_ended_says_why_to_all_who_ask() -> None:
    machine = Machine.__new__(Machine)
    machine.ended = None
    machine.standing = Standing(machine.qmp)
    outside = EmulatedOutside(lambda: machine, None, Symbols)
    with subprocess.Popen(["sleep", "60"]) as machine.process:
        machine.check_alive()
        assert outside.why_ended() is None
        machine._end(InfrastructureError("it needs more"))
    for ask in (machine.check_alive, machine.check_alive):
        with pytest.raises(InfrastructureError, match="it needs more"):
            ask()
    assert str(outside.why_ended()) == "it needs more"
    assert EmulatedOutside(lambda: None, None, Symbols).why_ended() is None
    assert EmulatedOutside(lambda: None, None, Symbols).stood_seconds() == 0
