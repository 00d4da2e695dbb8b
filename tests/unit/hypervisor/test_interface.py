# SPDX-License-Identifier: MIT
from __future__ import annotations

import os
import subprocess
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from pytest_xenscrub.deadline import Deadline
from pytest_xenscrub.errors import ConfigurationError, InfrastructureError
from pytest_xenscrub.host.emulated.image import XEN_OF_SUITE
from pytest_xenscrub.host.protocol import CommandResult
from pytest_xenscrub.hypervisor.build import Artefact
from pytest_xenscrub.hypervisor.interface import (
    SCRIPT,
    TOOLS_OF_SUITE,
    Interfaces,
    ask_tools,
    check_interfaces,
    tools_of_suite,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_xenscrub.host.protocol import Host

PYTHON = "/usr/bin/python3"
NEW = Interfaces(domctl=0x17, sysctl=0x15)
OLD = Interfaces(domctl=0x15, sysctl=0x15)


def artefact(interfaces: Interfaces, version: str = "4.20.4") -> Artefact:
    path = Path("none")
    return Artefact(
        elf=path, gz=path, build_id="", config=path, symbols=path, log=path, version=version,
        debug=False, variant="tasklet", domctl=interfaces.domctl, sysctl=interfaces.sysctl,
    )  # fmt: skip


class FakeHost:
    """A host on which every command ends as it was told."""

    name = "root@lab"

    def __init__(self, returncode: int, stdout: str, stderr: str = "") -> None:
        self.answer = (returncode, stdout, stderr)
        self.stdin: bytes | None = None

    def run(
        self, argv: Sequence[str], *, deadline: Deadline, check: bool, stdin: bytes | None
    ) -> CommandResult:
        assert not check
        self.stdin = stdin
        return CommandResult(tuple(argv), *self.answer)


def ask(host: FakeHost) -> Interfaces:
    return ask_tools(cast("Host", host), deadline=Deadline.after(10, "asking"))


def test_answer_of_dom0() -> None:
    host = FakeHost(0, '{"sysctl": 21, "domctl": 23}\n')
    assert ask(host) == NEW
    assert host.stdin == SCRIPT.encode()


@pytest.mark.parametrize(
    ("stdout", "stderr"),
    [("", "no bindings: No module named 'xen'"), ('{"sysctl": 21}\n', ""), ("[]", "")],
)
def test_answer_that_is_none_is_shown(stdout: str, stderr: str) -> None:
    with pytest.raises(InfrastructureError, match="did not show") as raised:
        ask(FakeHost(1, stdout, stderr))
    assert raised.value.evidence["stderr"] == stderr


BINDINGS = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
ENOENT = 2

def hypercall(op, version):
    argument = (ctypes.c_uint32 * 8)(62, version)
    call = (ctypes.c_uint64 * 6)(op, ctypes.addressof(argument))
    libc.ioctl(-1, ctypes.c_ulong(0x305000), call)
    raise OSError(13, "Permission denied")

class xc:
    def __init__(self):
        # As libxencall does it: with these buffers, or with its own memory if there are none.
        assert libc.open(b"/dev/xen/hypercall", 2) == -1
        assert ctypes.get_errno() == ENOENT

    def physinfo(self):
        hypercall(35, 0x15)

    def sched_credit_domain_get(self, domid):
        hypercall(36, 0x17)
"""


@pytest.mark.skipif(
    os.uname().machine != "x86_64" or not Path(PYTHON).exists(), reason="as in dom0: x86-64"
)
@pytest.mark.skipif(
    any(Path("/usr/lib").glob("xen*/**/xen/lowlevel")), reason="there are real ones"
)
def test_script_sees_what_bindings_call(tmp_path: Path) -> None:
    module = tmp_path / "xen" / "lowlevel" / "xc.py"
    module.parent.mkdir(parents=True)
    for folder in (module.parent, module.parent.parent):
        (folder / "__init__.py").touch()
    module.write_text(textwrap.dedent(BINDINGS))
    done = subprocess.run(
        [PYTHON, "-"],
        input=SCRIPT,
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    if "ptrace:" in done.stderr:
        pytest.skip("this machine lets nobody trace")
    assert (done.stdout, done.stderr) == ('{"sysctl": 21, "domctl": 23}\n', "")


def test_matching_tools_pass() -> None:
    check_interfaces(artefact(NEW), tools_of_suite("trixie"), suite="trixie")
    check_interfaces(artefact(OLD), OLD)


def test_every_suite_is_known() -> None:
    assert TOOLS_OF_SUITE.keys() == XEN_OF_SUITE.keys()
    with pytest.raises(ConfigurationError, match="sid"):
        tools_of_suite("sid")


def test_error_names_both_versions_and_the_suite_that_matches() -> None:
    with pytest.raises(ConfigurationError) as raised:
        check_interfaces(artefact(NEW), OLD, suite="bookworm")
    assert raised.value.what == (
        "bookworm's tools (4.17) do not drive this 4.20.4 hypervisor (tasklet):"
        " they speak domctl 0x15 and sysctl 0x15, it wants domctl 0x17 and sysctl 0x15"
    )
    assert "--xen-tools=build" in raised.value.todo
    assert "--xen-suite=trixie (4.20)" in raised.value.todo


def test_error_where_no_suite_matches() -> None:
    with pytest.raises(ConfigurationError) as raised:
        check_interfaces(artefact(Interfaces(0x18, 0x16), "4.22"), OLD, suite="bookworm")
    assert "no --xen-suite has matching ones: bookworm has 4.17's" in raised.value.todo


def test_error_on_a_real_host_names_no_suite() -> None:
    with pytest.raises(ConfigurationError, match="the tools in dom0 do not drive") as raised:
        check_interfaces(artefact(NEW), OLD)
    assert "--xen-suite" not in raised.value.todo
    assert "install the tools of that release in dom0" in raised.value.todo
