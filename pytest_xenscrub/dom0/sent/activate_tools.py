# SPDX-License-Identifier: MIT
"""Makes tools of our own the ones that run: runs in dom0, says what it started, and ends.

Argument:   the tools' prefix; their commands and bindings are the first that are found
Lines out:  each daemon that was replaced, and how
Whatever fails goes to stderr, and ends it.

dom0's daemons were started by tools that this Xen refuses. xenstored is replaced while it runs
where it can be (a live update keeps the watches of dom0's kernel), and restarted where not.

Plain Python 3.6, because dom0 may be older than the machine that runs the tests.
"""

import os
import signal
import subprocess
import sys
import time
from typing import Callable, List, Tuple

MODULES = ("xen-evtchn", "xen-gntdev", "xen-gntalloc", "xen-privcmd", "xenfs")
FOLDERS = ("/run/xen", "/run/xenstored", "/var/lib/xenstored", "/var/lib/xen", "/var/log/xen")


def running(*names: str) -> List[Tuple[int, str]]:
    """Processes of these programs, with the path of each."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            path = os.readlink("/proc/{}/exe".format(pid))
        except OSError:
            continue
        if os.path.basename(path.replace(" (deleted)", "")) in names:
            found.append((int(pid), path))
    return found


def wait(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait until a condition holds; returns whether it does in time."""
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()


def stop(*names: str) -> None:
    """End these programs, with SIGTERM first."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid, _ in running(*names):
            os.kill(pid, number)
        wait(lambda: not running(*names), 3)


def call(*argv: str, timeout: float = 20) -> bool:
    """Run a command; returns whether it succeeded in time."""
    try:
        return subprocess.call(argv, timeout=timeout) == 0
    except subprocess.TimeoutExpired:
        return False


def need(done: bool, what: str) -> None:
    """Exit with an error message unless a step succeeded."""
    if not done:
        sys.exit(what)


class Daemons:
    """xenstored and xenconsoled of the tools below a prefix."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix

    def path(self, name: str) -> str:
        return "{}/sbin/{}".format(self.prefix, name)

    def ours(self, name: str) -> bool:
        """Whether the running daemon of that name belongs to these tools."""
        return any(path == self.path(name) for _, path in running(name))

    def start(self, name: str, pid_file: str) -> None:
        if os.path.exists(pid_file):
            os.unlink(pid_file)
        need(call(self.path(name), "--pid-file=" + pid_file), name + " does not start")
        sys.stdout.write(name + ": started\n")

    def replace_xenstored(self) -> None:
        """Replace the running xenstored, by a live update if possible."""
        if running("xenstored") and not self.ours("xenstored"):
            update = ("live-update", "-F", "-t", "10", self.path("xenstored"))
            if call("xenstore-control", *update) and wait(lambda: self.ours("xenstored"), 5):
                sys.stdout.write("xenstored: live update\n")
        if not self.ours("xenstored"):
            stop("xenstored", "oxenstored")
            self.start("xenstored", "/run/xen/xenstored.pid")
        answers = wait(lambda: call("xenstore-exists", "/", timeout=5), 10)
        need(answers, "xenstored does not answer")

    def replace_xenconsoled(self) -> None:
        """Replace the running xenconsoled."""
        if not self.ours("xenconsoled"):
            stop("xenconsoled")
            self.start("xenconsoled", "/run/xen/xenconsoled.pid")


def set_up_dom0() -> None:
    """Set up dom0's kernel and file systems, which must be done before a daemon starts."""
    if not os.path.exists("/proc/xen/privcmd"):
        subprocess.call(["modprobe", "-a", *MODULES])
        subprocess.call(["mount", "-t", "xenfs", "xenfs", "/proc/xen"])
    for folder in FOLDERS:
        os.makedirs(folder, exist_ok=True)


def main() -> None:
    """Replace dom0's daemons."""
    prefix = sys.argv[1]
    daemons = Daemons(prefix)
    set_up_dom0()
    daemons.replace_xenstored()
    need(call(prefix + "/lib/xen/bin/xen-init-dom0"), "xen-init-dom0 failed")
    daemons.replace_xenconsoled()
    need(call("xl", "list"), "xl does not drive this Xen")


if __name__ == "__main__":
    main()
