# SPDX-License-Identifier: MIT
"""The machine: a folder that its sshd sees as /run/lab, with mounts and processes of its own.

    bin/      first in the PATH of its dom0: fake programs; a fault is one more of them
    python/   dom0's Xen bindings
    home/     a folder for each user who may log in: root, alice
    state/    what its programs share, a file each:
              own            build id of its own Xen
              runs           build id of the Xen that runs
              free           Xen's free memory, KiB
              kernel         dom0's, as uname tells
              xen_options    of the Xen that it boots by default
              log            what was done there: xl's command lines, reboots
              built-fails    if it is there, a Xen of ours goes down and its own is booted
              next-boot      a Xen that its boot server has for it, once
              keeps-next-boot  if it is there, until that is taken away
              serial-log     what its Xens say; a command has to show it to a run
              dead           if it is there, the machine does not come back from a reboot

Its Xen is a file of /boot whose first line is its build id; see `write_xen`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

from fakehost.needs import NAMESPACES, need_namespaces
from fakehost.sshd import Server

SENT: Final = Path(__file__).parent / "dom0"
SEEN_AS: Final = Path("/run/lab")
NAME: Final = "lab"
OWN: Final = "0a" * 20
"""Build id of its own Xen."""
FREE_KIB: Final = 4 << 20
_USERS = {"root": 0, "alice": 1000}
_XEN_BYTES = 256 << 10


def write_xen(path: Path, build_id: str) -> Path:
    """A file that the machine boots as a Xen with that build id, as large as one is."""
    path.write_text(f"{build_id}\n".ljust(_XEN_BYTES, "."))
    return path


def copy_programs(folder: Path) -> None:
    """Copy dom0's faked programs, and its faked bindings for Xen, into a folder."""
    shutil.copytree(SENT / "bin", folder / "bin")
    bindings = folder / "python/xen/lowlevel"
    bindings.mkdir(parents=True)
    for package in (bindings, bindings.parent):
        (package / "__init__.py").touch()
    shutil.copy(SENT / "xc.py", bindings)


class Machine:
    """A machine with a Xen, a dom0 and a GRUB, all of them faked, and a real sshd.

    Args:
        folder: for its files; must not be there.
        grub: its grub.cfg.
        dom0_options: the line of options that dom0's kernel was booted with.
        xen_options: those of its Xen.
        busybox: a busybox that is all of its programs but Python, and those that are faked; "" for
            the programs of this machine.
    """

    def __init__(
        self, folder: Path, *, grub: str, dom0_options: str, xen_options: str, busybox: str = ""
    ) -> None:
        need_namespaces()
        self.folder = folder
        copy_programs(folder)
        for name, uid in _USERS.items():
            home = folder / "home" / name
            home.mkdir(parents=True)
            os.chown(home, uid, uid)
        (folder / "state").mkdir()
        for name, text in {
            "own": OWN, "runs": OWN, "free": str(FREE_KIB), "kernel": "6.1.0-56-amd64",
            "xen_options": xen_options, "log": "", "serial-log": "",
        }.items():  # fmt: skip
            self.tell(name, text)
        (folder / "grub.cfg").write_text(grub)
        (folder / "cmdline").write_text(f"{dom0_options}\n")
        self._write_users()
        folder.chmod(0o755)
        path = f"{SEEN_AS}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        if busybox:
            self._use(busybox)
            path = f"{SEEN_AS}/bin"
        self._server = Server(
            folder,
            seen_as=SEEN_AS,
            lines=["PermitRootLogin yes", f"SetEnv PATH={path} PYTHONPATH={SEEN_AS}/python"],
            within=[*NAMESPACES, "sh", str(SENT / "enter"), str(folder)],
        )
        self.ssh_config = folder / "ssh_config"
        server = self._server
        self.ssh_config.write_text(
            server.config(NAME, server.identity, "User root", known=server.known)
        )

    def _use(self, busybox: str) -> None:
        """Have busybox for each program that is not faked, as Alpine has, and as root's shell."""
        shell = self.folder / "passwd"
        shell.write_text(shell.read_text().replace("/bin/bash", f"{SEEN_AS}/bin/ash"))
        applets = subprocess.run([busybox, "--list"], check=True, capture_output=True, text=True)
        shutil.copy(busybox, self.folder / "bin/busybox")
        for name in applets.stdout.split():
            if not (self.folder / "bin" / name).exists():
                (self.folder / "bin" / name).symlink_to("busybox")
        # Alpine's busybox has pkill, and Debian's has not; the last is for a program that is faked.
        for name in ("python3", "pkill", "perl"):
            (self.folder / "bin" / name).symlink_to(shutil.which(name, path="/usr/bin") or name)

    def _write_users(self) -> None:
        """Who may log in; and who sshd is while it looks at whoever knocks."""
        lines = [f"{n}:x:{u}:{u}::{SEEN_AS}/home/{n}:/bin/bash" for n, u in _USERS.items()]
        lines.append("sshd:x:100:65534::/run/sshd:/usr/sbin/nologin")
        (self.folder / "passwd").write_text("\n".join(lines) + "\n")
        shadow = "".join(f"{line.partition(':')[0]}:*:19000::::::\n" for line in lines)
        (self.folder / "shadow").write_text(shadow)

    # -- what is wrong with it ----------------------------------------------------------------

    def tell(self, name: str, text: str = "") -> None:
        """Write a file of its state."""
        (self.folder / "state" / name).write_text(f"{text}\n" if text else "")

    def tool(self, name: str, script: str) -> None:
        """Have its dom0 run a shell script in place of a program."""
        path = self.folder / "bin" / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    # -- what became of it --------------------------------------------------------------------

    def read(self, name: str) -> str:
        """A file of its state."""
        return (self.folder / "state" / name).read_text().strip()

    def run(self, script: str) -> str:
        """Run a shell script there as root; gives what it printed."""
        command = ["ssh", "-F", str(self.ssh_config), NAME, script]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def close(self) -> None:
        """End it; whatever runs there ends with it."""
        self._server.process.kill()
        self._server.process.wait()
