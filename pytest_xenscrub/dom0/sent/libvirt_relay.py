# SPDX-License-Identifier: MIT
"""The relay: runs in dom0 under its own Python, between ssh and the socket of libvirt's daemon.

It takes the place of netcat and virt-ssh-helper, and does what they cannot: it tells, on dom0's
monotonic clock, when a call reached the daemon and when the daemon answered. From outside, the
network and the scheduling of three processes would be in each figure.

On stderr, a line of JSON each:
    {"daemons": [...], "driver": true, "socket": "/run/libvirt/libvirt-sock", "error": ""}
    {"call": "destroy", "domain": "xenscrub-12ab34-victim-1", "issued": 12.3, "returned": 13.4}

Plain Python 3.6, because dom0 may be older than the machine that runs the tests: no `X | Y`,
`list[int]` or `:=` here.
"""

import contextlib
import glob
import json
import os
import re
import shutil
import socket
import struct
import sys
import threading
import time
from typing import Any, Callable, Dict, Iterator, Optional, Tuple

DAEMONS = ("virtxend", "libvirtd")
SOCKETS = ("/run/libvirt/virtxend-sock", "/run/libvirt/libvirt-sock")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DRIVERS = "/usr{}/lib{}/libvirt/connection-driver/libvirt_driver_libxl.so"
# libvirt's daemon may not listen yet, soon after dom0's start.
START_SECONDS = 20.0
POLL_SECONDS = 0.2
CHUNK = 1 << 16

# libvirt's protocol (src/rpc/virnetprotocol.x, src/remote/remote_protocol.x), which is stable.
HEADER = struct.Struct(">7I")  # length, program, version, procedure, type, serial, status
REMOTE_PROGRAM = 0x20008086
CALL, REPLY = 0, 1
TIMED = {10: "create", 12: "destroy"}
SIZE = struct.Struct(">I")


def tell(fact: Dict[str, Any]) -> None:
    sys.stderr.write(json.dumps(fact) + "\n")
    sys.stderr.flush()


class Frames:
    """Splits a stream into libvirt's messages."""

    def __init__(self) -> None:
        self.buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        self.buffer += data
        while len(self.buffer) >= HEADER.size:
            length = max(HEADER.size, HEADER.unpack_from(self.buffer)[0])
            if len(self.buffer) < length:
                return
            yield bytes(self.buffer[:length])
            del self.buffer[:length]


def first_argument(frame: bytes) -> bytes:
    """The first argument, a string: a created domain's XML, or a destroyed domain's name."""
    if len(frame) < HEADER.size + SIZE.size:
        return b""
    start = HEADER.size + SIZE.size
    return frame[start : start + SIZE.unpack_from(frame, HEADER.size)[0]]


class Stopwatch:
    """Times the calls of interest as they pass through."""

    def __init__(self, tag: str, report: Callable[[Dict[str, Any]], None] = tell) -> None:
        self.domain = re.compile(re.escape(tag).encode() + rb"-[\w-]+")
        self.report = report
        self.requests = Frames()
        self.answers = Frames()
        self.running: Dict[int, Tuple[str, str, float]] = {}

    def requested(self, data: bytes) -> None:
        """Handle data that is about to go to the daemon."""
        for frame in self.requests.feed(data):
            _, program, _, procedure, kind, serial, _ = HEADER.unpack_from(frame)
            if program == REMOTE_PROGRAM and kind == CALL and procedure in TIMED:
                found = self.domain.search(first_argument(frame))
                name = found.group().decode() if found else ""
                self.running[serial] = (TIMED[procedure], name, time.monotonic())

    def answered(self, data: bytes) -> None:
        """Handle data that has just come from the daemon."""
        at = time.monotonic()
        for frame in self.answers.feed(data):
            _, program, _, _, kind, serial, _ = HEADER.unpack_from(frame)
            if program == REMOTE_PROGRAM and kind == REPLY and serial in self.running:
                call, name, issued = self.running.pop(serial)
                # Reported before the answer is passed on, so that the client finds the report.
                self.report({"call": call, "domain": name, "issued": issued, "returned": at})


def connect(daemons: bool) -> Tuple[Optional[socket.socket], str, str]:
    """The daemon's socket, its path, and the error if there is none."""
    end = time.monotonic() + (START_SECONDS if daemons else 0.0)
    while True:
        error = ""
        for path in SOCKETS:
            client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                client.connect(path)
                return client, path, ""
            except OSError as reason:
                client.close()
                if not isinstance(reason, FileNotFoundError):
                    error = f"{path}: {reason.strerror}"
        # Without permission, waiting would not help.
        if "denied" in error or time.monotonic() >= end:
            return None, "", error
        time.sleep(POLL_SECONDS)


def pump(
    read: Callable[[int], bytes], look: Callable[[bytes], None], write: Callable[[bytes], Any]
) -> None:
    """Pass on one direction, until either side closes."""
    with contextlib.suppress(OSError):  # closed without a shutdown
        data = read(CHUNK)
        while data:
            look(data)
            write(data)
            data = read(CHUNK)


def main(tag: str) -> int:
    """Serve until libvirt's client or its daemon closes."""
    daemons = [name for name in DAEMONS if shutil.which(name, path=PATH)]
    places = [(local, lib) for local in ("", "/local") for lib in ("", "64", "/*")]
    driver = any(glob.glob(DRIVERS.format(local, lib)) for local, lib in places)
    daemon, path, error = connect(bool(daemons))
    tell({"daemons": daemons, "driver": driver, "socket": path, "error": error})
    if daemon is None:
        return 1
    server = daemon
    watch = Stopwatch(tag)

    def client_to_daemon() -> None:
        pump(lambda size: os.read(0, size), watch.requested, server.sendall)
        with contextlib.suppress(OSError):  # the daemon has closed
            server.shutdown(socket.SHUT_WR)

    def to_client(data: bytes) -> None:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()

    threading.Thread(target=client_to_daemon, daemon=True).start()
    pump(server.recv, watch.answered, to_client)
    # Not an ordinary exit, because the other thread may wait for input for ever, and holds stdin's
    # lock.
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
