# SPDX-License-Identifier: MIT
"""What has come from a guest's console, between the thread that takes it and the one that reads."""

from __future__ import annotations

import queue


class Inbox:
    """Holds unread data, in order.

    Attributes:
        ended: whether all was read, and nothing more will come.
    """

    def __init__(self) -> None:
        # None: the console was closed.
        self._arrived: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self.ended = False

    def put(self, data: bytes) -> None:
        """Some more has come."""
        self._arrived.put(data)

    def end(self) -> None:
        """Nothing more will come."""
        self._arrived.put(None)

    def read(self, timeout: float) -> bytes:
        """What has come; see `Console.read`."""
        if self.ended:
            raise EOFError
        try:
            data = self._arrived.get(timeout=max(0.0, timeout))
        except queue.Empty:
            return b""
        if data is None:
            self.ended = True
            raise EOFError
        return data
