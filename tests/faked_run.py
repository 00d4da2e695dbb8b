# SPDX-License-Identifier: MIT
"""Runs of pytest in pytest over a host that is faked, and what tests on it may ask for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from pytest_xenscrub.host import emulated
from pytest_xenscrub.hypervisor.choice import ChosenXen, Xens
from pytest_xenscrub.run import preflight

if TYPE_CHECKING:
    from pathlib import Path


HOST = "--xen-host=emulated"

# A host that is made of nothing, and what tests on it may ask for.
CONFTEST = """
from pathlib import Path
from types import SimpleNamespace

import pytest

from pytest_xenscrub.run import preflight
from pytest_xenscrub.dom0.answers import Reclaim, XenInfo
from pytest_xenscrub.deadline import Deadline
from pytest_xenscrub.errors import HostStalledError
from pytest_xenscrub.guest.guest import Ended
from pytest_xenscrub.run.managed_host import ManagedHost, RunningXen


preflight.check = lambda *_: None  # in a process of its own, where `faked_host` does not reach
STARVED = {"seconds": 0.0}


class Dom0:
    alive = True

    def __init__(self, host):
        self.host = host
        self.stall = 0.0
        self.said = ""
        self.answers = True

    def watch_log(self):
        self.said = ""

    def faults(self):
        return self.said

    def watch_stalls(self):
        self.stall = 0.0

    def worst_stall(self):
        return self.stall, 0.0

    def stalled_seconds(self):
        return self.stall

    total_bytes = 4 << 30

    def patience_seconds(self, memory_bytes):
        return 150.0

    def patience(self, step, memory_bytes=0, *, seconds=None):
        return Deadline.after(60.0 if seconds is None else seconds, step)

    def ping(self, deadline):
        if not self.answers:
            raise HostStalledError("dom0 stopped responding")

    def evidence(self):
        return {"Xen's log": "(XEN) last words"}

    def close(self, **_):
        pass


class FakeManagedHost(ManagedHost):
    def _start(self):
        with Path("started").open("a") as file:
            file.write(self.xen.name + chr(10))
        host = SimpleNamespace(name="emulated", kind="emulated (TCG)", close=lambda: None)
        host.outside = SimpleNamespace(
            starved_seconds=lambda: STARVED["seconds"], stood_seconds=lambda: 0.0,
            why_ended=lambda: None,
        )
        info = XenInfo("4.17.5", False, "c0ffee", "", 4 << 30, 2, 1, "a CPU")
        return RunningXen(self.xen, host, Dom0(host), info, None, None)


@pytest.fixture(scope="session")
def _guest_kernel():
    return None


@pytest.fixture(scope="session")
def managed_host(_xen_session, xen_variant):
    deployment = SimpleNamespace(stop=lambda *, broken: None)
    managed = FakeManagedHost("emulated", xen_variant, deployment, _xen_session.say)
    _xen_session.managed_host = managed
    yield managed
    _xen_session.managed_host = None


@pytest.fixture
def toolstack(xen_host, xen_toolstack):
    types = ("pv", "pvh") if xen_toolstack == "libvirt" else ("pv", "pvh", "hvm")
    return SimpleNamespace(name=xen_toolstack, version="1.2.3", types=types)


@pytest.fixture
def measure(timings):
    def measure(destroy=1.0, verdict="clean", samples=None):
        guest = SimpleNamespace(
            memory_bytes=1 << 30,
            config=SimpleNamespace(vcpus=2),
            created=SimpleNamespace(seconds=0.5),
            last=lambda kind: None,
        )
        moments = Reclaim(10.0, 10.0 + destroy, 12.0, 13.0, 14.0, None, [], [])
        row = timings.record(Ended(guest, "destroy", moments, None, samples))
        row.verdict = verdict
        return row

    return measure
"""
# For a process of its own, where `faked_host` does not reach.
NOTHING_IS_BUILT = """
from pytest_xenscrub.hypervisor.choice import ChosenXen, Xens

Xens.get = lambda xens, name: ChosenXen(xens.variants[name])
"""
MEASURES = """
import pytest

@pytest.mark.quick
def test_measured(measure):
    measure(1.25)
"""


SAMPLED = """
from pytest_xenscrub.host.sampling import CpuState, Sample, Samples
from pytest_xenscrub.host.symbols import Symbols

def test_sampled(measure):
    symbols = Symbols([(0xFFFF82D040200000, "clear_page_sse2"), (1 << 64, "end")], "xen-syms")
    cpu = CpuState(0, 0xFFFF82D040200010, 0, False)
    looks = tuple(Sample(n * 0.05, (cpu,)) for n in range(30))
    row = measure(1.25, samples=Samples(looks, 1.5, 0.1, symbols))
    row.exposure_curve = [[0.0, 1.0], [1.0, 0.0]]
"""


@pytest.fixture
def faked_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of this machine's environment is used, and no real host is started."""
    for name in list(os.environ):
        if name.startswith("PYTEST_"):
            monkeypatch.delenv(name)

    def start(*_: object, **__: object) -> NoReturn:
        raise AssertionError("a host was started")

    def get(xens: Xens, name: str) -> ChosenXen:
        return ChosenXen(xens.variants[name])

    monkeypatch.setattr(emulated.EmulatedHost, "start", start)
    monkeypatch.setattr(emulated, "prepare_image", start)
    monkeypatch.setattr(Xens, "get", get)
    monkeypatch.setattr(preflight, "check", lambda *_: None)


@pytest.fixture
def project(pytester: pytest.Pytester, faked_host: None) -> pytest.Pytester:
    """A folder with a faked host; strict about warnings, as the project's own tests are."""
    pytester.makeconftest(CONFTEST)
    pytester.makeini("[pytest]\naddopts = --strict-markers\nfilterwarnings = error")
    return pytester


def run(project: pytest.Pytester, test: str, *arguments: str) -> pytest.RunResult:
    """Run a test file on the faked host."""
    project.makepyfile(test_it=test)
    return project.runpytest_inprocess("-p", "no:cacheprovider", HOST, *arguments)


def start(project: pytest.Pytester, test: str, *arguments: str) -> subprocess.Popen[bytes]:
    """Start a test file on the faked host, in a process of its own."""
    project.makepyfile(test_it=test)
    process: subprocess.Popen[bytes] = project.popen(
        [sys.executable, "-m", "pytest", HOST, *arguments],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    return process


def rows_in(path: Path) -> list[dict[str, Any]]:
    """The measurements of a results' file, without what the whole run came to."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [line for line in lines if "fit" not in line]


def starts(project: pytest.Pytester) -> list[str]:
    """The Xens that were started, in that order."""
    path = project.path / "started"
    return path.read_text().split() if path.exists() else []


def wait_for(path: Path, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 30
    while not path.exists():
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.02)
