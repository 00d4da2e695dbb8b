# SPDX-License-Identifier: MIT
"""A guest's console: `xl console`, driven by pexpect over the shared SSH connection."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from typing import TYPE_CHECKING, Any, cast

import pexpect

from pytest_xenscrub.toolstack.inbox import Inbox

if TYPE_CHECKING:
    from collections.abc import Sequence

_CHUNK = 1 << 16
_END_SECONDS = 0.005


class XlConsole:
    """Implements `Console`.

    A thread reads all output at once, even if no test asks for it. ssh's master writes it to this
    terminal, and waits if the terminal is full. Then everything on its connection waits, too: other
    guests, and dom0's heartbeat. So a guest whose output is not read would look like a host that
    hangs.

    Args:
        command: runs `xl console` in dom0.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._child = pexpect.spawn(command[0], list(command[1:]), echo=False, timeout=None)
        # By default pexpect pauses before each line that it types, for password prompts.
        self._child.delaybeforesend = None
        # By default it also waits a tenth of a second at each step of its end; ssh ends at once.
        pty = cast("Any", self._child).ptyproc  # its type stubs do not have it
        pty.delayafterclose = pty.delayafterterminate = _END_SECONDS
        self._inbox = Inbox()
        self._wake, self._woken = socket.socketpair()
        self._reader = threading.Thread(target=self._take, name="xenscrub-console", daemon=True)
        self._reader.start()

    def _take(self) -> None:
        """Read all output, until either end closes the console."""
        with selectors.DefaultSelector() as either, contextlib.suppress(pexpect.EOF, OSError):
            either.register(self._child, selectors.EVENT_READ)
            either.register(self._woken, selectors.EVENT_READ)
            while all(key.fileobj is not self._woken for key, _ in either.select()):
                with contextlib.suppress(pexpect.TIMEOUT):
                    data = self._child.read_nonblocking(_CHUNK, timeout=0)
                    self._inbox.put(cast("bytes", data))  # because no encoding was given
        self._inbox.end()

    def read(self, timeout: float) -> bytes:
        """Read received data; see `Console.read`."""
        return self._inbox.read(timeout)

    def write(self, data: bytes) -> None:
        """Type something."""
        self._child.send(data)

    def close(self) -> None:
        """Close the console."""
        self._wake.close()
        self._reader.join()
        self._woken.close()
        self._child.close(force=True)
