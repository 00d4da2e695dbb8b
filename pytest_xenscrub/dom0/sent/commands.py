# SPDX-License-Identifier: MIT
"""Runs commands in dom0, and times them there. Part of the agent.

Plain Python 3.6, as the agent is.
"""

import os
import signal
import subprocess
import threading
import time
from typing import Any, Callable, Dict, Optional, Sequence, Set, Tuple

Facts = Dict[str, Any]

# Time between two checks whether a running command hangs.
LOOK_SECONDS = 0.5


class Commands:
    """Runs commands, and knows those that still run, so that they can be killed at the end."""

    def __init__(self) -> None:
        self.children: Set["subprocess.Popen[bytes]"] = set()
        self._lock = threading.Lock()

    def run(self, argv: Sequence[str], over: Callable[[int], bool]) -> Facts:
        """Run a command to its end; its process group is killed if it hangs.

        Args:
            argv: the command.
            over: called again and again with the command's session; tells whether the command
                hangs, or its time is over.
        """
        issued = time.monotonic()
        with self._lock:  # a command outside of the list could not be killed
            child = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
            self.children.add(child)
        try:
            out, err, hung = self.finish(child, over)
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

    def finish(
        self, child: "subprocess.Popen[bytes]", over: Callable[[int], bool]
    ) -> Tuple[bytes, bytes, bool]:
        """Wait for the end of a command; gives its output, and whether it was killed."""
        hung = False
        while not hung:
            try:
                out, err = child.communicate(timeout=LOOK_SECONDS)
                return out, err, False
            except subprocess.TimeoutExpired:
                hung = over(child.pid)
        kill_group(child)
        for pipe in (child.stdout, child.stderr):
            assert pipe is not None  # noqa: S101 - Popen was told to make them
            pipe.close()
        return b"", b"", True

    def kill(self) -> None:
        """Kill the commands that still run."""
        with self._lock:
            running = list(self.children)
        for child in running:
            kill_group(child)


class Ending:
    """A command that runs in a thread, so that its effects can be watched."""

    def __init__(
        self, commands: Commands, argv: Sequence[str], over: Callable[[int], bool]
    ) -> None:
        self.result: Optional[Facts] = None

        def run() -> None:
            self.result = commands.run(argv, over)

        self.thread = threading.Thread(target=run, daemon=True)

    def running(self) -> bool:
        """Whether the command has started and not ended."""
        return self.thread.is_alive()

    def wait(self, seconds: float) -> Optional[Facts]:
        """Wait for the result; None if it takes longer, or the command could not be run."""
        self.thread.join(seconds)
        return self.result


def kill_group(child: "subprocess.Popen[bytes]") -> None:
    """Kill a command and everything that it started."""
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except OSError:
        pass
    try:
        child.wait(2)
    except subprocess.TimeoutExpired:
        pass  # in a hypercall, where even SIGKILL has no effect until the hypercall returns
