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

# Reads the program from stdin, after the modules that it imports; they get the names that they have
# in this package, which does not exist in dom0. The rest of stdin is the program's input.
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
    """The command that runs a program in dom0, and the beginning of its stdin."""
    *sources, program = [source(name) for name in (*parts, module)]
    named = [(f"{SENT}.{name}", len(text)) for name, text in zip(parts, sources, strict=True)]
    bootstrap = BOOTSTRAP.format(parts=named, module=module, size=len(program))
    return ["python3", "-u", "-c", bootstrap], b"".join([*sources, program])


def start_program(host: Host, module: str, parts: Sequence[str] = ()) -> subprocess.Popen[bytes]:
    """Start `dom0/sent/MODULE.py`; its stdin, stdout and stderr are pipes of this process.

    A program that ends at once is not an error here: its stderr says why.

    Args:
        host: the host.
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
        host: the host.
        module: the program.
        arguments: its `sys.argv`.
        deadline: limit.
        parts: other modules of that folder that the program imports.

    Raises:
        InfrastructureError: the host could not be reached, or was lost.
        DeadlineExceededError: it took too long.
    """
    command, text = _as_sent(module, parts)
    return host.run([*command, *arguments], deadline=deadline, check=False, stdin=text)
