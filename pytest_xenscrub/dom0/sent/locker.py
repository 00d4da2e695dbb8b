# SPDX-License-Identifier: MIT
"""The locker: runs in dom0 and holds the machine for one run, as long as the run is connected.

The lock is of flock, so it ends with this process, which ends with the connection, or if the run
has said nothing for a while. The file says who has the machine. The file outlives a reboot, which
ends the lock of a run that boots another Xen: for some time after a boot the machine still belongs
to that run.

First line in:  {"path", "wait", "grace", "silence", "who": {"tag", ...}}; times in s
Lines out:      {"waiting": who has it}, then {"locked": who had it and is dead, or null} or
                {"busy": who has it}
Lines in:       anything now and then; "release"

Plain Python 3.6, because dom0 may be older than the machine that runs the tests.
"""

import fcntl
import json
import os
import queue
import signal
import sys
import threading
import time
from typing import Any, Dict, Optional, Tuple

Facts = Dict[str, Any]

BOOT_ID = "/proc/sys/kernel/random/boot_id"
UPTIME = "/proc/uptime"
POLL_SECONDS = 0.5


def say(**message: Any) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def read(path: str) -> str:
    with open(path) as file:
        return file.read()


def holder(fd: int) -> Optional[Facts]:
    """The run that the file names; None if it names none, or is being written."""
    try:
        found = json.loads(os.pread(fd, 1 << 16, 0).decode())
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def attempt(path: str, who: Facts, grace: float) -> Tuple[Optional[int], Optional[Facts]]:
    """Try once to take the lock.

    Returns its descriptor, and the dead run that had it; or None, and the run that has it.
    """
    boot = read(BOOT_ID).strip()
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            found = holder(fd) or {}
            os.close(fd)
            if found.get("tag") == who["tag"] and found.get("boot") == boot:
                # Held by this run's old locker, whose connection was lost.
                try:
                    os.kill(found["pid"], signal.SIGKILL)
                except OSError:
                    pass
            return None, found
        try:
            same = os.stat(path).st_ino == os.fstat(fd).st_ino
        except OSError:
            same = False
        if same:
            break
        os.close(fd)  # the lock was released between the two looks
    before = holder(fd)
    if before is not None and before.get("tag") == who["tag"]:
        before = None
    rebooted = before is not None and before.get("boot") != boot
    if before is not None and rebooted and float(read(UPTIME).split()[0]) < grace:
        os.close(fd)
        return None, dict(before, rebooting=True)
    text = json.dumps(dict(who, boot=boot, pid=os.getpid())).encode()
    os.ftruncate(fd, 0)
    os.pwrite(fd, text, 0)
    # On the disk, so that it survives a reset.
    os.fsync(fd)
    folder = os.open(os.path.dirname(path), os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)
    return fd, before


def lines_in() -> "queue.Queue[Optional[str]]":
    """The lines of stdin, and None at the end of the connection."""
    lines: "queue.Queue[Optional[str]]" = queue.Queue()

    def read_all() -> None:
        for line in sys.stdin.buffer:
            lines.put(line.decode().strip())
        lines.put(None)

    threading.Thread(target=read_all, daemon=True).start()
    return lines


def acquire(request: Facts, lines: "queue.Queue[Optional[str]]") -> Optional[int]:
    """Try until the lock is taken, the time is over, or the run is gone."""
    end = time.monotonic() + request["wait"]
    told = None
    while True:
        fd, other = attempt(request["path"], request["who"], request["grace"])
        if fd is not None:
            say(locked=other)
            return fd
        if time.monotonic() >= end:
            say(busy=other)
            return None
        if other != told:
            say(waiting=other)
            told = other
        try:
            if lines.get(timeout=POLL_SECONDS) is None:
                return None
        except queue.Empty:
            pass


def hold(path: str, lines: "queue.Queue[Optional[str]]", silence: float) -> None:
    """Hold the lock until the run says "release", is gone, or has been silent for too long.

    In the last two cases the file stays, so that the next run sees that this one is dead.
    """
    while True:
        try:
            line = lines.get(timeout=silence)
        except queue.Empty:
            return
        if line == "release":
            os.unlink(path)
        if line in ("release", None):
            return


def main() -> None:
    """Serve one run."""
    lines = lines_in()
    first = lines.get()
    if first is not None:
        request = json.loads(first)
        if acquire(request, lines) is not None:
            hold(request["path"], lines, request["silence"])


if __name__ == "__main__":
    main()
    # Not an ordinary exit, which would wait for the thread that reads lines, and then abort.
    os._exit(0)
