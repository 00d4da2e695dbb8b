# SPDX-License-Identifier: MIT
from __future__ import annotations

import os
import sys
import textwrap
from pathlib import Path

import pytest

from pytest_xenscrub.deadline import Deadline
from pytest_xenscrub.dom0.program import run_program
from pytest_xenscrub.dom0.sent import interface_probe

from .conftest import LocalHost, as_host

PYTHON = "/usr/bin/python3"
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
def test_it_sees_what_bindings_call(tmp_path: Path) -> None:
    module = tmp_path / "xen" / "lowlevel" / "xc.py"
    module.parent.mkdir(parents=True)
    for folder in (module.parent, module.parent.parent):
        (folder / "__init__.py").touch()
    module.write_text(textwrap.dedent(BINDINGS))
    host = LocalHost(PYTHON, {"PYTHONPATH": str(tmp_path)})
    done = run_program(as_host(host), "interface_probe", deadline=Deadline.after(30, "asking"))
    if "ptrace:" in done.stderr:
        pytest.skip("this machine lets nobody trace")
    assert (done.stdout, done.stderr) == ('{"sysctl": 21, "domctl": 23}\n', "")


def test_a_dom0_without_bindings_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setitem(sys.modules, "xen", None)
    with pytest.raises(SystemExit, match="no bindings: "):
        interface_probe.load_bindings()
