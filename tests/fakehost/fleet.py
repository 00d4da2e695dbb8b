# SPDX-License-Identifier: MIT
"""Many machines with no Xen, each a set of namespaces; they die and boot again as they are told.

An sshd for each would be too much. A run's `ssh` is a program of the fleet's here, which runs each
command in the machine's namespaces; all else of a run is the real thing, and so is what it sends.
A machine that dies takes all of its processes with it, and keeps its disk. Its uptime begins anew.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fakehost.machine import FREE_KIB, OWN, SENT, copy_programs
from fakehost.needs import NAMESPACES, need_namespaces
from pytest_xenscrub.dom0.lock import PATH
from pytest_xenscrub.host import spawn

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterable

PROGRAMS: Final = Path(__file__).parent / "fleet_bin"
DISK: Final = "/var/lib"
_BOOT_SECONDS = 60.0
_STATE = {
    "own": OWN, "runs": OWN, "free": str(FREE_KIB), "kernel": "6.1.0-56-amd64",
    "xen_options": "dom0_mem=4G", "log": "", "serial-log": "",
}  # fmt: skip


class Member:
    """A machine of a fleet.

    Args:
        folder: the machine's, which it sees as /run/lab.
    """

    def __init__(self, folder: Path) -> None:
        self.name = folder.name
        self.disk = folder / "disk"
        self._folder = folder
        self._init = folder / "init"
        self._process: subprocess.Popen[bytes] | None = None
        for name in ("disk", "state"):
            (folder / name).mkdir(parents=True)
        for name in ("bin", "python", "passwd", "shadow", "grub.cfg", "cmdline"):
            (folder / name).symlink_to(folder.parents[1] / "shared" / name)
        for name, text in _STATE.items():
            (folder / "state" / name).write_text(text)

    @property
    def runs(self) -> bool:
        """Whether the machine is up."""
        return self._process is not None

    def boot(self) -> None:
        """Start the machine; `wait` waits until it answers."""
        uptime = int(float(Path("/proc/uptime").read_text().split()[0]))
        ready = f"mount --bind /run/lab/disk {DISK} && touch /run/lab/ready && exec sleep infinity"
        (self._folder / "ready").unlink(missing_ok=True)
        self._process = spawn.spawn_tied(
            [*NAMESPACES, "--time", f"--boottime=-{uptime}", "sh", str(SENT / "enter"),
             str(self._folder), "sh", "-c", ready],
        )  # fmt: skip

    def wait(self) -> None:
        """Wait until the machine that boots answers."""
        assert self._process is not None
        end = time.monotonic() + _BOOT_SECONDS
        while not (self._folder / "ready").exists():
            assert self._process.poll() is None, f"{self.name} does not boot"
            assert time.monotonic() < end, f"{self.name} does not boot"
            time.sleep(0.02)
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        new = self._folder / "init.new"
        new.write_text(f"{children.read_text().split()[0]}\n")
        new.rename(self._init)

    def die(self) -> None:
        """End all processes of the machine at once, as a power cut does."""
        self._init.unlink(missing_ok=True)
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    # -- what became of it --------------------------------------------------------------------

    @property
    def locked(self) -> bool:
        """Whether a process holds the machine's lock."""
        try:
            with (self.disk / Path(PATH).name).open() as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def processes(self) -> list[str]:
        """The command lines of the machine's processes other than its first."""
        first = self._init.read_text().strip()
        inside = Path(f"/proc/{first}/ns/pid").readlink()
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if process.name != first and (process / "ns/pid").readlink() == inside:
                    words = (process / "cmdline").read_bytes().split(b"\0")
                    found.append(" ".join(word.decode()[:60] for word in words))
            except OSError:
                continue  # it has just ended
        return found


class Fleet:
    """Machines `lab0`, `lab1` and so on, all of them up.

    Args:
        folder: for their files; must not be there.
        count: number of machines.
    """

    def __init__(self, folder: Path, count: int) -> None:
        need_namespaces()
        self.folder = folder
        shared = folder / "shared"
        copy_programs(shared)
        for name in ("passwd", "shadow"):
            shutil.copy(f"/etc/{name}", shared / name)
        (shared / "grub.cfg").touch()
        (shared / "cmdline").write_text("root=/dev/sda1\n")
        self.machines = [Member(folder / "machines" / f"lab{number}") for number in range(count)]
        self.hosts_file = folder / "labs.toml"
        self.hosts_file.write_text("".join(f"[hosts.{each.name}]\n" for each in self.machines))
        self.boot(self.machines)

    def boot(self, machines: Iterable[Member]) -> None:
        """Start machines that are down, some at once."""
        down = [machine for machine in machines if not machine.runs]
        for start in range(0, len(down), 8):
            for machine in down[start : start + 8]:
                machine.boot()
            for machine in down[start : start + 8]:
                machine.wait()

    @property
    def environment(self) -> dict[str, str]:
        """The variables with which a run finds the fleet's ssh."""
        return {"FLEET": str(self.folder), "PATH": f"{PROGRAMS}:{os.environ['PATH']}"}

    def close(self) -> None:
        """End all machines."""
        for machine in self.machines:
            machine.die()
