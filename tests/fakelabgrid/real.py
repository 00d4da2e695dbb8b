# SPDX-License-Identifier: MIT
"""labgrid itself: its coordinator and an exporter, on loopback, in an environment of their own."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from fakelabgrid.fake import call
from pytest_xenscrub.host import spawn

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from fakelabgrid.fake import Resources

VERSION = "26.0.1"
_START_SECONDS = 120.0
_INSTALL_SECONDS = 900.0
_LEFT_OUT = "labgrid cannot be installed here"


def install(folder: Path) -> Path:
    """The folder of labgrid's programs, which are installed if they are not there."""
    programs = folder / "bin"
    if not (programs / "labgrid-exporter").exists():
        pip = [str(programs / "python"), "-m", "pip", "install", "-q", f"labgrid=={VERSION}"]
        for command in ([sys.executable, "-m", "venv", str(folder)], pip):
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=_INSTALL_SECONDS, check=False
            )
            if done.returncode:
                pytest.skip(f"{_LEFT_OUT}: {done.stderr.strip().splitlines()[-1:]}")
    return programs


class RealLab:
    """A lab on this machine's loopback.

    Args:
        programs: where labgrid's are.
        folder: for its files.
    """

    def __init__(self, programs: Path, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        self._programs = programs
        self.program = str(programs / "labgrid-client")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.coordinator = f"127.0.0.1:{free.getsockname()[1]}"
        self._started: list[subprocess.Popen[bytes]] = []
        self._start("coordinator", "-l", self.coordinator, until="listening on 127.0.0.1:")

    def add(self, name: str, tags: Mapping[str, str], resources: Resources) -> None:
        """Have a place more, with an exporter of its own if it has any resources."""
        call(self, "lab", "-p", name, "create")
        if tags:
            call(self, "lab", "-p", name, "set-tags", *(f"{k}={v}" for k, v in tags.items()))
        if resources:
            call(self, "lab", "-p", name, "add-match", f"{name}/{name}/*")
            file = self._folder / f"{name}.yaml"
            file.write_text(json.dumps({name: resources}))  # which is YAML, too
            self._start(
                "exporter", "-c", self.coordinator, "-n", name, "--hostname", "localhost",
                str(file), until="creating poll task",
            )  # fmt: skip
            end = time.monotonic() + _START_SECONDS
            while not re.search(r"Matching resource", call(self, "lab", "-p", name, "show")):
                assert time.monotonic() < end
                time.sleep(0.2)

    def _start(self, program: str, *words: str, until: str) -> None:
        log = self._folder / f"log-{len(self._started)}"
        # The coordinator keeps its places in the folder that it is started in.
        python = ["env", f"--chdir={self._folder}", str(self._programs / "python"), "-u"]
        command = [*python, f"{self._programs}/labgrid-{program}"]
        with log.open("wb") as file:
            process = spawn.spawn_tied([*command, *words], stdout=file, stderr=file)
        self._started.append(process)
        end = time.monotonic() + _START_SECONDS
        while until not in (said := log.read_text()):
            assert time.monotonic() < end, said
            assert process.poll() is None, said
            time.sleep(0.1)

    def close(self) -> None:
        """End it."""
        for process in reversed(self._started):
            spawn.end(process)


def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where labgrid is installed: a folder of its own, or the one that LABGRID_VENV names."""
    from pathlib import Path  # noqa: PLC0415 - for its type alone elsewhere

    named = os.environ.get("LABGRID_VENV")
    return Path(named) if named else tmp_path_factory.mktemp("labgrid") / "venv"
