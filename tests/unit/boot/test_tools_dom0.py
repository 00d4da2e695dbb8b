# SPDX-License-Identifier: MIT
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from pytest_xenscrub.boot.tools_dom0 import HostWithTools, activate, install, remove
from pytest_xenscrub.deadline import Deadline
from pytest_xenscrub.errors import ConfigurationError, InfrastructureError
from pytest_xenscrub.host.protocol import CommandResult
from pytest_xenscrub.hypervisor.tools_artefact import ToolsArtefact

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_xenscrub.host.protocol import Host

TOOLS = ToolsArtefact(
    tarball=Path("tools.tar.gz"), prefix="/opt/xenscrub-tools-c0ffee", python="3.11",
    log=Path("log"), version="4.20.4", domctl=0x17, sysctl=0x15,
)  # fmt: skip


@pytest.fixture
def deadline() -> Deadline:
    return Deadline.after(60, "a test")


class FakeHost:
    """A host that answers by the first word of a command, and by what is put into its stdin."""

    name = "lab"
    kind = "real"

    def __init__(self, *, there: bool = False, fails: str = "") -> None:
        self.there = there
        self.fails = fails
        self.ran: list[tuple[str, ...]] = []
        self.copied: list[str] = []

    def run(
        self,
        argv: Sequence[str],
        *,
        deadline: Deadline,
        check: bool = True,
        stdin: bytes | None = None,
    ) -> CommandResult:
        self.ran.append(tuple(argv))
        code, out, err = 0, "", ""
        if argv[0] == "test":
            code = int(not self.there)
        elif argv[0] == "sh":
            out = "/usr/sbin:/usr/bin\n"
        elif stdin is not None and self.fails:
            code, err = 1, self.fails
        return CommandResult(tuple(argv), code, out, err)

    def put(self, _local: Path, remote: str, *, deadline: Deadline) -> None:
        self.copied.append(remote)

    def ssh_command(self, argv: Sequence[str], *, tty: bool = False) -> list[str]:
        return ["ssh", *(["-t"] if tty else []), *argv]

    def serial_tail(self, lines: int = 20) -> str:
        return "(XEN) said something"


def as_host(host: FakeHost) -> Host:
    return cast("Host", host)


def test_install_copies_once(deadline: Deadline) -> None:
    host = FakeHost()
    install(as_host(host), TOOLS, deadline=deadline)
    assert len(host.copied) == 1
    assert host.ran[-1][0] == "python3"
    assert host.ran[-1][-2:] == (TOOLS.prefix, host.copied[0])
    host = FakeHost(there=True)
    install(as_host(host), TOOLS, deadline=deadline)
    assert host.copied == []


def test_tools_that_cannot_run_in_this_dom0(deadline: Deadline) -> None:
    host = FakeHost(fails="ImportError: Python 3.13: no module named xc\n")
    with pytest.raises(ConfigurationError, match="cannot run in lab's dom0") as raised:
        install(as_host(host), TOOLS, deadline=deadline)
    assert "Python 3.11" in raised.value.tried
    assert "Python 3.13" in raised.value.evidence["dom0"]


def test_full_disk_is_not_the_tools_fault(deadline: Deadline) -> None:
    host = FakeHost(fails="OSError: [Errno 28] No space left on device\n")
    with pytest.raises(InfrastructureError, match="cannot be unpacked"):
        install(as_host(host), TOOLS, deadline=deadline)


def test_activate_returns_what_commands_need(deadline: Deadline) -> None:
    host = FakeHost()
    environment = activate(as_host(host), TOOLS, deadline=deadline)
    path = "/opt/xenscrub-tools-c0ffee/sbin:/opt/xenscrub-tools-c0ffee/bin:/usr/sbin:/usr/bin"
    assert environment == {
        "PATH": path,
        "PYTHONPATH": "/opt/xenscrub-tools-c0ffee/lib/python",
    }
    assert host.ran[-1][:2] == ("env", f"PATH={path}")
    ours = HostWithTools(as_host(host), environment)
    assert ours.ssh_command(["xl", "list"], tty=True) == [
        "ssh", "-t", "env", f"PATH={path}", "PYTHONPATH=/opt/xenscrub-tools-c0ffee/lib/python",
        "xl", "list",
    ]  # fmt: skip


def test_daemon_that_does_not_start(deadline: Deadline) -> None:
    host = FakeHost(fails="xenconsoled does not start\n")
    with pytest.raises(InfrastructureError, match="do not run there") as raised:
        activate(as_host(host), TOOLS, deadline=deadline)
    assert raised.value.evidence["stderr"] == "xenconsoled does not start\n"
    assert raised.value.evidence["serial log"] == "(XEN) said something"


def test_remove(deadline: Deadline) -> None:
    host = FakeHost()
    remove(as_host(host), TOOLS, deadline=deadline)
    assert host.ran == [("rm", "-rf", TOOLS.prefix)]
