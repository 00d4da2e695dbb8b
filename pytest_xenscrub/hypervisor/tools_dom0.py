# SPDX-License-Identifier: MIT
"""Tools of our own in dom0: put there, made the ones that run, used by what we run there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_xenscrub.errors import ConfigurationError, InfrastructureError

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from pytest_xenscrub.deadline import Deadline
    from pytest_xenscrub.host.protocol import CommandResult, Host
    from pytest_xenscrub.hypervisor.tools import ToolsArtefact

# All in one go, and renamed at the end: what is there is complete.
_UNPACK = """
prefix=$1 tarball=$2
new=$prefix.$$
trap 'rm -rf "$new" "$tarball"' EXIT
mkdir -p "$new" && tar -xzf "$tarball" -C "$new" && chmod 755 "$new" || exit 1
mv -T "$new$prefix" "$prefix" 2>/dev/null || [ -x "$prefix/sbin/xl" ]
"""

# A library of dom0 that is missing or too old shows here and not in the middle of a test.
_CHECK = """
prefix=$1
lacks=$(for file in "$prefix"/sbin/* "$prefix"/lib/*.so.* "$prefix"/lib/xen/bin/*; do
    ldd "$file"
done 2>&1 | grep 'not found' | sort -u)
[ -z "$lacks" ] || { echo "$lacks" >&2; exit 1; }
PYTHONPATH=$prefix/lib/python python3 -c 'import xen.lowlevel.xc'
"""

# dom0's daemons were started by tools that this Xen refuses. xenstored is replaced while it runs
# where it can be (a live update keeps the watches of dom0's kernel), and restarted where not.
_ACTIVATE = """
prefix=$1
mine() { for pid in $(running "$1"); do
    [ "$(readlink "/proc/$pid/exe")" = "$prefix/sbin/$1" ] && echo "$pid"; done; }
running() { for link in /proc/[0-9]*/exe; do
    case $(readlink "$link") in */"$1"|*/"$1 (deleted)")
        pid=${link#/proc/}; echo "${pid%/exe}";; esac; done; }
stop() {
    pids=$(for name in "$@"; do running "$name"; done)
    [ -z "$pids" ] && return
    kill $pids 2>/dev/null
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        left=; for pid in $pids; do [ -e "/proc/$pid/exe" ] && left=1; done
        [ -z "$left" ] && return
        sleep 0.2
    done
    kill -9 $pids 2>/dev/null
}
fail() { echo "$*" >&2; exit 1; }

modprobe -a xen-evtchn xen-gntdev xen-gntalloc xen-privcmd xenfs 2>/dev/null
[ -e /proc/xen/privcmd ] || mount -t xenfs xenfs /proc/xen
mkdir -p /run/xen /run/xenstored /var/run/xenstored /var/lib/xenstored /var/lib/xen /var/log/xen
if [ -z "$(mine xenstored)" ]; then
    if [ -n "$(running xenstored)" ]; then
        timeout 20 xenstore-control live-update -F -t 10 "$prefix/sbin/xenstored" \\
            && [ -n "$(mine xenstored)" ] && echo "xenstored: live update"
    fi
    if [ -z "$(mine xenstored)" ]; then
        stop xenstored oxenstored
        rm -f /run/xen/xenstored.pid
        xenstored --pid-file /run/xen/xenstored.pid || fail "xenstored does not start"
        echo "xenstored: started"
    fi
fi
ready=
for _ in $(seq 100); do
    timeout 5 xenstore-exists / 2>/dev/null && { ready=1; break; }; sleep 0.05
done
[ -n "$ready" ] || fail "xenstored does not answer"
"$prefix/lib/xen/bin/xen-init-dom0" || fail "xen-init-dom0 failed"
if [ -z "$(mine xenconsoled)" ]; then
    stop xenconsoled
    rm -f /run/xen/xenconsoled.pid
    xenconsoled --pid-file=/run/xen/xenconsoled.pid || fail "xenconsoled does not start"
fi
timeout 20 xl list || fail "xl does not drive this Xen"
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

    def ssh_command(self, argv: Sequence[str]) -> list[str]:
        """The local command line that runs `argv` in dom0."""
        return self.inner.ssh_command([*self._env, *argv])

    def put(self, local: Path, remote: str, *, deadline: Deadline) -> None:
        """Copy a file into dom0. Atomic: never seen half-written."""
        self.inner.put(local, remote, deadline=deadline)

    def settle(self, deadline: Deadline) -> None:
        """Wait until it is as fast as it will be."""
        self.inner.settle(deadline)

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
    if there.returncode:
        remote = f"/tmp/{tools.prefix.rpartition('/')[2]}.tar.gz"  # noqa: S108 - of our own name
        host.put(tools.tarball, remote, deadline=deadline)
        host.run(["sh", "-c", _UNPACK, "sh", tools.prefix, remote], deadline=deadline)
    done = host.run(["sh", "-c", _CHECK, "sh", tools.prefix], deadline=deadline, check=False)
    if done.returncode:
        asked = ["python3", "-c", "import sysconfig; print(sysconfig.get_python_version())"]
        python = host.run(asked, deadline=deadline, check=False).stdout.strip() or "none"
        raise ConfigurationError(
            f"the tools that were built from Xen {tools.version} cannot run in {host.name}'s dom0",
            tried=f"built for Python {tools.python}, dom0 has {python}",
            todo="build on a machine of dom0's own Debian release, or use a dom0 of this machine's"
            " (--xen-suite)",
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
    done = ours.run(["sh", "-c", _ACTIVATE, "sh", tools.prefix], deadline=deadline, check=False)
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
