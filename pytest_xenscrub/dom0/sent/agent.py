# SPDX-License-Identifier: MIT
"""The agent: runs in dom0 under its own Python, answers one JSON line per request.

It is sent over the SSH connection, with its parts, and lives as long as that does; nothing is
installed in dom0.
Times are dom0's monotonic clock in seconds, so that no network latency is in any of them.

Request:  {"id": 7, "op": "run", ...}
Answer:   {"id": 7, "ok": {...}}  or  {"id": 7, "error": "..."}
Before:   {"id": 7, "begun": true}, from what watches: what is to be watched may happen now
Unasked:  {"beat": monotonic seconds, "late": seconds that dom0, or one of its CPUs, overslept}

Plain Python 3.6, because dom0 may be older than the machine that runs the tests: no `X | Y`,
`list[int]` or `:=` here.
"""

import json
import os
import sys
import threading
import time
from typing import IO, Any, Dict

from pytest_xenscrub.dom0.sent.bindings import load_bindings
from pytest_xenscrub.dom0.sent.cpu_beats import BEAT_SECONDS, CpuBeats
from pytest_xenscrub.dom0.sent.operations import Operations

PARTS = ("bindings", "commands", "cpu_beats", "progress", "reclaim_watch", "operations")
"""The other modules of the agent, each after those that it imports."""

Facts = Dict[str, Any]


class Agent:
    """Reads requests on stdin, and writes answers on stdout; each request has its own thread."""

    def __init__(self, xc: Any, stdin: IO[bytes], stdout: IO[bytes]) -> None:
        self.operations = Operations(xc)
        self.stdin = stdin
        self.stdout = stdout
        self.write_lock = threading.Lock()
        self.cpus = CpuBeats()

    def say(self, message: Facts) -> None:
        """Write one line; lines of several threads do not mix."""
        line = (json.dumps(message) + "\n").encode()
        with self.write_lock:
            self.stdout.write(line)
            self.stdout.flush()

    def beat(self) -> None:
        """Send heartbeats until the connection ends; a silent or late one shows a stalled dom0."""
        self.cpus.start()
        due = time.monotonic()
        while True:
            now = time.monotonic()
            try:
                self.say({"beat": now, "late": max(0.0, now - due, self.cpus.latest())})
            except OSError:
                os._exit(1)
            due = now + BEAT_SECONDS
            time.sleep(BEAT_SECONDS)

    def answer(self, request: Facts) -> None:
        """Carry out a request, and send its answer."""
        number, op = request.pop("id"), request.pop("op")
        reply: Facts = {"id": number}
        if op == "reclaim":
            request["begun"] = lambda: self.say({"id": number, "begun": True})
        try:
            reply["ok"] = getattr(self.operations, "do_" + op)(**request)
        except Exception as error:
            reply["error"] = "{}: {}".format(type(error).__name__, error)
        self.say(reply)

    def serve(self) -> None:
        """Answer requests until the connection ends, and leave no command behind."""
        threading.Thread(target=self.beat, daemon=True).start()
        for line in self.stdin:
            request = json.loads(line)
            threading.Thread(target=self.answer, args=(request,), daemon=True).start()
        self.operations.commands.kill()


def main() -> None:
    """Serve until the connection closes."""
    try:
        xc = load_bindings()
    except Exception as error:
        sys.stdout.write(json.dumps({"fatal": "{}: {}".format(type(error).__name__, error)}) + "\n")
        return
    Agent(xc, sys.stdin.buffer, sys.stdout.buffer).serve()


if __name__ == "__main__":
    main()
