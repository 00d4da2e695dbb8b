# SPDX-License-Identifier: MIT
"""Commands that are run in dom0, and timed there. Part of the agent.

Plain Python 3.7, as the agent is.
"""

import os
import signal
import subprocess
import time
from typing import Any, Dict, Sequence, Set

Facts = Dict[str, Any]


class Commands:
    """Those that still run are known, so that none outlives whoever asked for it."""

    def __init__(self) -> None:
        self.children: Set["subprocess.Popen[bytes]"] = set()

    def run(self, argv: Sequence[str], timeout: float) -> Facts:
        """Run a command to its end; the group it made is killed when its time is over."""
        issued = time.monotonic()
        child = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self.children.add(child)
        try:
            out, err = child.communicate(timeout=timeout)
            hung = False
        except subprocess.TimeoutExpired:
            kill_group(child)
            for pipe in (child.stdout, child.stderr):
                assert pipe is not None  # noqa: S101 - Popen was told to make them
                pipe.close()
            out, err = b"", b""
            hung = True
        finally:
            self.children.discard(child)
        return {
            "returncode": child.returncode,
            "stdout": out.decode(errors="replace"),
            "stderr": err.decode(errors="replace"),
            "issued": issued,
            "returned": time.monotonic(),
            "hung": hung,
        }

    def kill(self) -> None:
        """Kill those that still run."""
        for child in list(self.children):
            kill_group(child)


def kill_group(child: "subprocess.Popen[bytes]") -> None:
    """End a command and all that it started."""
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except OSError:
        pass
    try:
        child.wait(2)
    except subprocess.TimeoutExpired:
        pass  # stuck in a hypercall: not even SIGKILL helps before that returns
