# SPDX-License-Identifier: MIT
"""A guest's console over one of libvirt's streams."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import libvirt

from pytest_xenscrub.deadline import Deadline
from pytest_xenscrub.toolstack.inbox import Inbox
from pytest_xenscrub.toolstack.libvirt import api

if TYPE_CHECKING:
    from pytest_xenscrub.toolstack.libvirt.connection import LibvirtConnection

_CHUNK = 1 << 16
_CLOSE_SECONDS = 5.0
_WOULD_BLOCK = -2


class LibvirtConsole:
    """Reads a console in libvirt's event loop; implements `Console`."""

    def __init__(
        self, connection: LibvirtConnection, domain: libvirt.virDomain, deadline: Deadline
    ) -> None:
        self._connection = connection
        self._inbox = Inbox()
        self._stream = connection.call(
            deadline, connection.virt.newStream, libvirt.VIR_STREAM_NONBLOCK
        )
        # With FORCE, because an earlier client, perhaps of a killed run, may still have the
        # console.
        connection.call(
            deadline, domain.openConsole, None, self._stream, libvirt.VIR_DOMAIN_CONSOLE_FORCE
        )
        events = (
            libvirt.VIR_STREAM_EVENT_READABLE
            | libvirt.VIR_STREAM_EVENT_ERROR
            | libvirt.VIR_STREAM_EVENT_HANGUP
        )
        connection.call(deadline, self._stream.eventAddCallback, events, self._ready, None)

    def _ready(self, stream: libvirt.virStream, _events: int, _: object) -> None:
        """Read all output; called by libvirt's event loop."""
        try:
            while data := stream.recv(_CHUNK):
                if data == _WOULD_BLOCK:
                    return
                self._inbox.put(data)
        except libvirt.libvirtError:
            pass  # the domain, or the connection, is gone
        with contextlib.suppress(libvirt.libvirtError):
            stream.eventRemoveCallback()
        self._inbox.end()

    def read(self, timeout: float) -> bytes:
        """Read received data; see `Console.read`."""
        return self._inbox.read(timeout)

    def write(self, data: bytes) -> None:
        """Type something.

        Raises:
            CommandError: libvirt refused.
            XenHungError: the console accepted nothing.
        """
        dom0 = self._connection.dom0
        deadline = dom0.patience("typing on a console", seconds=dom0.hang_seconds)
        while data:
            sent = self._connection.call(deadline, self._stream.send, data)
            if sent == _WOULD_BLOCK:
                deadline.check()
            else:
                data = data[sent:]

    def close(self) -> None:
        """Close the console."""
        ended, self._inbox.ended = self._inbox.ended, True
        if ended or not self._connection.alive:
            return
        deadline = Deadline.after(_CLOSE_SECONDS, "closing a console")
        with contextlib.suppress(Exception):
            api.call(self._connection.dom0, deadline, self._let_go)

    def _let_go(self) -> None:
        with contextlib.suppress(libvirt.libvirtError):
            self._stream.eventRemoveCallback()
        self._stream.abort()
