# SPDX-License-Identifier: MIT
from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pytest_xenscrub.host import spawn

PARENT = """
import time
from pytest_xenscrub.host.spawn import spawn_tied
print(spawn_tied(["sleep", "600"]).pid, flush=True)
time.sleep(600)
"""


def gone(pid: int, seconds: float = 5) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False


def wait_until_running(pid: int, program: bytes, seconds: float = 5) -> None:
    """Until setpriv has tied the child and become the program: before that nothing is promised."""
    end = time.monotonic() + seconds
    while not Path(f"/proc/{pid}/cmdline").read_bytes().startswith(program):
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_child_dies_with_a_parent_that_was_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        wait_until_running(pid, b"sleep")
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        assert gone(pid)


def test_a_child_outlives_the_thread_that_asked_for_it() -> None:
    children: list[subprocess.Popen[bytes]] = []
    thread = threading.Thread(target=lambda: children.append(spawn.spawn_tied(["sleep", "600"])))
    thread.start()
    thread.join()
    time.sleep(0.2)
    assert children[0].poll() is None
    spawn.end(children[0])
    assert children[0].returncode == -signal.SIGTERM


def test_a_child_that_does_not_end_is_killed() -> None:
    script = "trap '' TERM; echo; while :; do sleep 0.1; done"
    child = subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE)
    with child:
        assert child.stdout is not None
        child.stdout.readline()
        spawn.end(child, grace=0.2)
        assert child.returncode == -signal.SIGKILL


def test_a_program_that_cannot_be_started_is_told_to_the_one_who_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refused = OSError("no more processes")

    def refuse(*_: object, **__: object) -> None:
        raise refused

    monkeypatch.setattr(subprocess, "Popen", refuse)
    with pytest.raises(OSError, match="no more processes") as caught:
        spawn.spawn_tied(["true"])
    assert caught.value is refused
