# SPDX-License-Identifier: MIT
"""pytest as its user runs it, in a process of its own, and the lab machines that it is run on."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.deadline import Deadline
from pytest_xenscrub.testing import ALIAS, LabMachine

if TYPE_CHECKING:
    from collections.abc import Iterator

TOP = Path(__file__).parents[2]


@dataclass(frozen=True)
class Finished:
    """How a run ended."""

    status: int
    output: str


class Run:
    """A pytest that runs; ends with its context.

    Args:
        arguments: its arguments.
        output: a file for its output; default: a pipe, which `finish` reads.
    """

    def __init__(self, *arguments: str | Path, output: Path | None = None) -> None:
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *map(str, arguments)]
        # It is no worker, even if this one is.
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_XDIST_")}
        self._output = output
        with contextlib.ExitStack() as opened:
            out = subprocess.PIPE if output is None else opened.enter_context(output.open("wb"))
            self.process = subprocess.Popen(
                command, cwd=TOP, env=environment, text=True,
                stdout=out, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def said(self) -> str:
        """Its output so far, if that goes into a file."""
        return "" if self._output is None else self._output.read_text(errors="replace")

    def finish(self, seconds: float) -> Finished:
        """Wait for it; one that does not end in time is killed, and shown."""
        try:
            output, _ = self.process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            output, _ = self.process.communicate()
            pytest.fail(f"pytest did not end within {seconds:.0f} s:\n{output}")
        return Finished(self.process.returncode, output)


@contextlib.contextmanager
def running(*arguments: str | Path) -> Iterator[Run]:
    """A pytest with these arguments."""
    run = Run(*arguments)
    try:
        yield run
    finally:
        if run.process.poll() is None:
            run.process.kill()
        run.process.communicate()


def run_pytest(*arguments: str | Path, seconds: float) -> Finished:
    """A pytest with these arguments, from its start to its end."""
    with running(*arguments) as run:
        return run.finish(seconds)


@contextlib.contextmanager
def lab_machine(memory_bytes: int = 2 << 30) -> Iterator[LabMachine]:
    """A lab machine, played by QEMU; what is missing for that is an error, and says so."""
    deadline = Deadline.after(900, "starting the lab machine")
    machine = LabMachine.start(memory_bytes=memory_bytes, say=print, deadline=deadline)
    with contextlib.closing(machine):
        yield machine


def over_ssh(machine: LabMachine, *, power: bool = True) -> list[str]:
    """The options with which a run uses it."""
    options = [f"--xen-host={ALIAS}", f"--xen-ssh-config={machine.ssh_config}"]
    options.append(f"--xen-serial={machine.serial}")
    return [*options, f"--xen-power={machine.power}"] if power else options
