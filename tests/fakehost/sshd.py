# SPDX-License-Identifier: MIT
"""An sshd of a test's own, on this machine's loopback and nowhere else."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from fakehost.needs import need_sshd
from pytest_xenscrub.host import spawn

if TYPE_CHECKING:
    from collections.abc import Sequence

_START_SECONDS = 10.0


def keygen(path: Path) -> str:
    """A new key; gives its public half."""
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)]
    subprocess.run(command, check=True)
    return " ".join(path.with_suffix(".pub").read_text().split()[:2])


class Server:
    """An sshd with a host key, that lets one key in.

    Args:
        folder: for its files; may be there.
        seen_as: how sshd sees that folder, if not as we do.
        lines: more of its configuration.
        within: begins the command that starts it.
        address: where it listens, on loopback.
    """

    def __init__(
        self,
        folder: Path,
        *,
        seen_as: Path | None = None,
        lines: Sequence[str] = (),
        within: Sequence[str] = (),
        address: str = "127.0.0.1",
    ) -> None:
        sshd = need_sshd()
        self.folder = folder
        self.address = address
        folder.mkdir(mode=0o700, exist_ok=True)
        self.host_key = keygen(folder / "host")
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family) as free:
            free.bind((address, 0))
            self.port = free.getsockname()[1]
        (folder / "authorized").write_text(keygen(folder / "key") + "\n")
        seen = seen_as or folder
        config = [
            f"Port {self.port}", f"ListenAddress {address}", f"HostKey {seen}/host",
            f"AuthorizedKeysFile {seen}/authorized", "StrictModes no", "PidFile none",
            "UsePAM no", "PasswordAuthentication yes", *_penalties(sshd), *lines,
        ]  # fmt: skip
        (folder / "sshd_config").write_text("\n".join(config) + "\n")
        if os.geteuid() == 0 and not within:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        command = [*within, sshd, "-D", "-e", "-f", str(seen / "sshd_config")]
        with (folder / "log").open("wb") as log:
            self.process = spawn.spawn_tied(command, stderr=log)
        end = time.monotonic() + _START_SECONDS
        while "Server listening" not in (said := (folder / "log").read_text()):
            assert time.monotonic() < end, said
            assert self.process.poll() is None, said
            time.sleep(0.02)
        assert said.count(" listening on ") == said.count(f" listening on {address} "), said

    def config(self, name: str, *lines: str, known: str) -> str:
        """A part of an ssh configuration in which `name` is this server."""
        (self.folder / "known").write_text(known)
        options = [
            f"HostName {self.address}", f"Port {self.port}",
            "IdentitiesOnly yes", "IdentityAgent none",
            f"UserKnownHostsFile {self.folder}/known", "GlobalKnownHostsFile /dev/null", *lines,
        ]  # fmt: skip
        return f"Host {name}\n" + "".join(f"  {option}\n" for option in options)

    @property
    def known(self) -> str:
        return f"[{self.address}]:{self.port} {self.host_key}\n"

    @property
    def identity(self) -> str:
        return f"IdentityFile {self.folder}/key"

    def close(self) -> None:
        spawn.end(self.process)


def _penalties(sshd: str) -> list[str]:
    """Since OpenSSH 9.8 who fails or is cut off often is not let in any more for a while."""
    option = "PerSourcePenalties no"
    command = [sshd, "-T", "-f", "/dev/null", "-o", option]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stderr
    return [] if "PerSourcePenalties" in said else [option]
