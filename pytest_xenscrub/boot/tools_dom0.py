# SPDX-License-Identifier: MIT
"""Tools of our own in dom0: put there, made the ones that run, used by what we run there."""

from __future__ import annotations

import re
import uuid
from typing import TYPE_CHECKING

from pytest_xenscrub.errors import ConfigurationError, InfrastructureError

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from pytest_xenscrub.deadline import Deadline
    from pytest_xenscrub.host.outside import Outside
    from pytest_xenscrub.host.protocol import CommandResult, Host
    from pytest_xenscrub.hypervisor.tools import ToolsArtefact

# Renamed when it is complete, and removed when it cannot run: a library of dom0 that is missing or
# too old shows here and not in the middle of a test. Python does it: processes are slow there.
_UNPACK = """
import ctypes, glob, os, shutil, sys, tarfile
prefix, tarball = sys.argv[1:]
new = "{}.{}".format(prefix, os.getpid())
try:
    with tarfile.open(tarball) as tar:
        tar.extractall(new)
    os.rename(new + prefix, prefix)
finally:
    shutil.rmtree(new, ignore_errors=True)
    os.unlink(tarball)
try:
    for library in sorted(glob.glob(prefix + "/lib/*.so.*")):
        ctypes.CDLL(library)
    sys.path.insert(0, prefix + "/lib/python")
    import xen.lowlevel.xc
except (ImportError, OSError) as error:
    shutil.rmtree(prefix)
    sys.exit("{}: Python {}.{}: {}".format(type(error).__name__, *sys.version_info[:2], error))
"""
_CANNOT_RUN = re.compile(r"^(?:ImportError|ModuleNotFoundError|OSError): Python", re.M)

# dom0's daemons were started by tools that this Xen refuses. xenstored is replaced while it runs
# where it can be (a live update keeps the watches of dom0's kernel), and restarted where not.
_ACTIVATE = """
import os, signal, subprocess, sys, time
prefix = sys.argv[1]

def running(*names):
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            path = os.readlink("/proc/{}/exe".format(pid))
        except OSError:
            continue
        if os.path.basename(path.replace(" (deleted)", "")) in names:
            found.append((int(pid), path))
    return found

def ours(name):
    return any(path == "{}/sbin/{}".format(prefix, name) for _, path in running(name))

def stop(*names):
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid, _ in running(*names):
            os.kill(pid, number)
        wait(lambda: not running(*names), 3)

def wait(condition, seconds):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()

def call(*argv, timeout=20):
    try:
        return subprocess.call(argv, timeout=timeout) == 0
    except subprocess.TimeoutExpired:
        return False

def need(done, what):
    if not done:
        sys.exit(what)

def start(name, path):
    if os.path.exists(path):
        os.unlink(path)
    need(call("{}/sbin/{}".format(prefix, name), "--pid-file=" + path), name + " does not start")
    print(name + ": started")

if not os.path.exists("/proc/xen/privcmd"):
    modules = ["xen-evtchn", "xen-gntdev", "xen-gntalloc", "xen-privcmd", "xenfs"]
    subprocess.call(["modprobe", "-a"] + modules)
    subprocess.call(["mount", "-t", "xenfs", "xenfs", "/proc/xen"])
for folder in ("/run/xen", "/run/xenstored", "/var/lib/xenstored", "/var/lib/xen", "/var/log/xen"):
    os.makedirs(folder, exist_ok=True)
if running("xenstored") and not ours("xenstored"):
    update = ["xenstore-control", "live-update", "-F", "-t", "10", prefix + "/sbin/xenstored"]
    if call(*update) and wait(lambda: ours("xenstored"), 5):
        print("xenstored: live update")
if not ours("xenstored"):
    stop("xenstored", "oxenstored")
    start("xenstored", "/run/xen/xenstored.pid")
need(wait(lambda: call("xenstore-exists", "/", timeout=5), 10), "xenstored does not answer")
need(call(prefix + "/lib/xen/bin/xen-init-dom0"), "xen-init-dom0 failed")
if not ours("xenconsoled"):
    stop("xenconsoled")
    start("xenconsoled", "/run/xen/xenconsoled.pid")
need(call("xl", "list"), "xl does not drive this Xen")
"""


class HostWithTools:
    """A host whose commands find our tools before dom0's; implements `Host`.

    Args:
        inner: the host.
        environment: what `activate` returned.
    """

    def __init__(self, inner: Host, environment: Mapping[str, str]) -> None:
        self.inner = inner
        self._env = ["env", *(f"{name}={value}" for name, value in environment.items())]

    @property
    def name(self) -> str:
        """How the user called it."""
        return self.inner.name

    @property
    def kind(self) -> str:
        """What it is made of."""
        return self.inner.kind

    @property
    def outside(self) -> Outside | None:
        """What this machine sees of it without its dom0."""
        return self.inner.outside

    def run(
        self,
        argv: Sequence[str],
        *,
        deadline: Deadline,
        check: bool = True,
        stdin: bytes | None = None,
    ) -> CommandResult:
        """Run a command in dom0 to its end; raises as the host does."""
        return self.inner.run([*self._env, *argv], deadline=deadline, check=check, stdin=stdin)

    def popen(self, argv: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start a command in dom0 whose stdin, stdout and stderr are pipes of this process."""
        return self.inner.popen([*self._env, *argv])

    def ssh_command(self, argv: Sequence[str], *, tty: bool = False) -> list[str]:
        """The local command line that runs `argv` in dom0."""
        return self.inner.ssh_command([*self._env, *argv], tty=tty)

    def put(self, local: Path, remote: str, *, deadline: Deadline) -> None:
        """Copy a file into dom0. Atomic: never seen half-written."""
        self.inner.put(local, remote, deadline=deadline)

    def serial_tail(self, lines: int = 20) -> str:
        """Last lines of the serial log."""
        return self.inner.serial_tail(lines)

    def close(self) -> None:
        """Let go of the host."""
        self.inner.close()


def install(host: Host, tools: ToolsArtefact, *, deadline: Deadline) -> None:
    """Copy tools into dom0 and unpack them below their prefix; no more is changed there.

    Raises:
        ConfigurationError: they cannot run in this dom0: its Python or a library is another.
        InfrastructureError: they could not be copied.
        DeadlineExceededError: it took too long.
    """
    there = host.run(["test", "-x", f"{tools.prefix}/sbin/xl"], deadline=deadline, check=False)
    if there.returncode == 0:
        return
    remote = f"/tmp/{tools.prefix.rpartition('/')[2]}.{uuid.uuid4().hex[:8]}"  # noqa: S108 - new
    host.put(tools.tarball, remote, deadline=deadline)
    argv = ["python3", "-", tools.prefix, remote]
    done = host.run(argv, deadline=deadline, check=False, stdin=_UNPACK.encode())
    if done.returncode == 0:
        return
    what = f"the tools that were built from Xen {tools.version} cannot"
    if _CANNOT_RUN.search(done.stderr):
        raise ConfigurationError(
            f"{what} run in {host.name}'s dom0",
            tried=f"its libraries, and bindings for Python {tools.python}",
            todo="build on a machine of dom0's own Debian release, or use a dom0 of this machine's"
            " (--xen-suite)",
            evidence={"dom0": done.stderr[-1500:]},
        )
    raise InfrastructureError(
        f"{what} be unpacked in {host.name}'s dom0",
        tried=tools.prefix,
        todo="is there room on its root file system?",
        evidence={"dom0": done.stderr[-1500:]},
    )


def activate(host: Host, tools: ToolsArtefact, *, deadline: Deadline) -> dict[str, str]:
    """Make installed tools the ones that run: xenstored, xenconsoled, and dom0's set-up.

    To be called once the Xen that they belong to runs, before any guest is made; where ours run
    already, they are left alone. dom0's libvirtd stays without a Xen: it has dom0's own libraries.

    Returns:
        The environment that commands in dom0 must have, for `HostWithTools`.

    Raises:
        InfrastructureError: a daemon does not start, or xl does not drive this Xen.
        DeadlineExceededError: it took too long.
    """
    path = host.run(["sh", "-c", 'echo "$PATH"'], deadline=deadline).stdout.strip()
    environment = {"PATH": f"{tools.folders}:{path}", "PYTHONPATH": tools.bindings}
    ours = HostWithTools(host, environment)
    argv = ["python3", "-", tools.prefix]
    done = ours.run(argv, deadline=deadline, check=False, stdin=_ACTIVATE.encode())
    if done.returncode:
        raise InfrastructureError(
            f"{host.name}: the tools that were built from Xen {tools.version} do not run there",
            tried=f"xenstored, xen-init-dom0, xenconsoled and xl list below {tools.prefix}",
            todo="check that the Xen they were built with is the one that runs",
            evidence={
                "stdout": done.stdout[-1000:],
                "stderr": done.stderr[-1500:],
                "serial log": host.serial_tail(),
            },
        )
    return environment


def remove(host: Host, tools: ToolsArtefact, *, deadline: Deadline) -> None:
    """Take tools out of dom0 again; what still runs from them goes on until dom0 is rebooted."""
    host.run(["rm", "-rf", tools.prefix], deadline=deadline)
