# SPDX-License-Identifier: MIT
"""Passes a guest's console output from the thread that receives it to the thread that reads it."""

from __future__ import annotations

import queue


class Inbox:
    """Holds unread data, in order.

    Attributes:
        ended: whether everything was read, and nothing more will come.
    """

    def __init__(self) -> None:
        # None marks the end.
        self._arrived: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self.ended = False

    def put(self, data: bytes) -> None:
        """Add received data."""
        self._arrived.put(data)

    def end(self) -> None:
        """Note that nothing more will come."""
        self._arrived.put(None)

    def read(self, timeout: float) -> bytes:
        """Read received data; see `Console.read`."""
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
