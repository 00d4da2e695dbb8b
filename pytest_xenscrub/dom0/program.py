# SPDX-License-Identifier: MIT
"""Runs a program of `dom0/sent` in dom0, under dom0's own Python; installs nothing there."""

from __future__ import annotations

import contextlib
from importlib.resources import files
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Sequence

    from pytest_xenscrub.deadline import Deadline
    from pytest_xenscrub.host.protocol import CommandResult, Host

SENT: Final = "pytest_xenscrub.dom0.sent"

# Reads the program itself from stdin, its parts first: modules that it imports by their name in
# this package, though the package is not there. What comes after it is the program's own.
BOOTSTRAP = """
import sys, types
def run(name, size, scope):
    exec(compile(sys.stdin.buffer.read(size), name, 'exec'), scope)
for name, size in {parts}:
    sys.modules[name] = types.ModuleType(name)
    run(name, size, sys.modules[name].__dict__)
run('xenscrub-{module}', {size}, globals())
"""


def source(name: str) -> bytes:
    """The text of `dom0/sent/NAME.py`, as it is sent."""
    return (files(SENT) / f"{name}.py").read_bytes()


def _as_sent(module: str, parts: Sequence[str]) -> tuple[list[str], bytes]:
    """The command that runs a program in dom0, and what its stdin begins with."""
    *sources, program = [source(name) for name in (*parts, module)]
    named = [(f"{SENT}.{name}", len(text)) for name, text in zip(parts, sources, strict=True)]
    bootstrap = BOOTSTRAP.format(parts=named, module=module, size=len(program))
    return ["python3", "-u", "-c", bootstrap], b"".join([*sources, program])


def start_program(host: Host, module: str, parts: Sequence[str] = ()) -> subprocess.Popen[bytes]:
    """Start `dom0/sent/MODULE.py`; its stdin, stdout and stderr are pipes of this process.

    One that ends at once is no error here: it has said why on its stderr.

    Args:
        host: whose dom0 it runs in.
        module: the program.
        parts: other modules of that folder that it imports.
    """
    command, text = _as_sent(module, parts)
    process = host.popen(command)
    assert process.stdin is not None  # noqa: S101 - host.popen promises pipes
    with contextlib.suppress(OSError):
        process.stdin.write(text)
        process.stdin.flush()
    return process


def run_program(
    host: Host, module: str, *arguments: str, deadline: Deadline, parts: Sequence[str] = ()
) -> CommandResult:
    """Run `dom0/sent/MODULE.py` to its end, with any exit status and an empty stdin.

    Args:
        host: whose dom0 it runs in.
        module: the program.
        arguments: what it gets in `sys.argv`.
        deadline: when it must have ended.
        parts: other modules of that folder that it imports.

    Raises:
        InfrastructureError: the host could not be reached, or was lost.
        DeadlineExceededError: it took too long.
    """
    command, text = _as_sent(module, parts)
    return host.run([*command, *arguments], deadline=deadline, check=False, stdin=text)
