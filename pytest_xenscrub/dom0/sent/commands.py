# SPDX-License-Identifier: MIT
"""Commands that are run in dom0, and timed there. Part of the agent.

Plain Python 3.6, as the agent is.
"""

import os
import signal
import subprocess
import threading
import time
from typing import Any, Callable, Dict, Optional, Sequence, Set, Tuple

Facts = Dict[str, Any]

# How often it is asked whether a command that has not ended hangs.
LOOK_SECONDS = 0.5


class Commands:
    """Those that still run are known, so that none outlives whoever asked for it."""

    def __init__(self) -> None:
        self.children: Set["subprocess.Popen[bytes]"] = set()
        self._lock = threading.Lock()

    def run(self, argv: Sequence[str], over: Callable[[int], bool]) -> Facts:
        """Run a command to its end; the group it made is killed when it counts as hung.

        Args:
            argv: the command.
            over: told its session, whether it hangs, or its time is over; asked again and again.
        """
        issued = time.monotonic()
        with self._lock:  # a command that is not known yet could not be killed
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
        """What a command says until it ends, and whether it had to be killed."""
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
        """Kill those that still run."""
        with self._lock:
            running = list(self.children)
        for child in running:
            kill_group(child)


class Ending:
    """A command in a thread of its own, so that what it does can be watched."""

    def __init__(
        self, commands: Commands, argv: Sequence[str], over: Callable[[int], bool]
    ) -> None:
        self.result: Optional[Facts] = None

        def run() -> None:
            self.result = commands.run(argv, over)

        self.thread = threading.Thread(target=run, daemon=True)

    def running(self) -> bool:
        """Whether it has been started and has not ended."""
        return self.thread.is_alive()

    def wait(self, seconds: float) -> Optional[Facts]:
        """Its result; None where it takes longer, or could not be run."""
        self.thread.join(seconds)
        return self.result


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
