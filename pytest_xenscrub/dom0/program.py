# SPDX-License-Identifier: MIT
"""Starts a module of this folder in dom0, under dom0's own Python: nothing is installed there."""

from __future__ import annotations

import contextlib
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import subprocess

    from pytest_xenscrub.host.protocol import Host

# Reads the program itself from stdin; what comes after it is the program's own.
BOOTSTRAP = "import sys; exec(compile(sys.stdin.buffer.read({size}), '{name}', 'exec'))"


def start_program(host: Host, module: str) -> subprocess.Popen[bytes]:
    """Start `MODULE.py` of this folder; its stdin, stdout and stderr are pipes of this process.

    One that ends at once is no error here: it has said why on its stderr.
    """
    source = (files(__package__) / f"{module}.py").read_bytes()
    bootstrap = BOOTSTRAP.format(size=len(source), name=f"xenscrub-{module}")
    process = host.popen(["python3", "-u", "-c", bootstrap])
    assert process.stdin is not None  # noqa: S101 - host.popen promises pipes
    with contextlib.suppress(OSError):
        process.stdin.write(source)
        process.stdin.flush()
    return process
