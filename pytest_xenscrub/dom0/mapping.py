# SPDX-License-Identifier: MIT
"""Maps pages of a guest in dom0, as a backend or a debugger does."""

from __future__ import annotations

import contextlib
import select
from typing import TYPE_CHECKING

from pytest_xenscrub.deadline import HANG_SECONDS, Deadline
from pytest_xenscrub.dom0.program import start_program
from pytest_xenscrub.errors import InfrastructureError
from pytest_xenscrub.host.outside import kept

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_xenscrub.host.protocol import Host

_CLOSE_SECONDS = 10.0


class ForeignMapping:
    """A program in dom0 that maps pages of one guest and reads them: `sent/page_mapper.py`.

    All methods but `close` raise InfrastructureError with the program's message if it fails, and
    XenHungError if it does not answer for too long.

    Args:
        host: the host.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self._process = start_program(host, "page_mapper")

    def _ask(self, line: str) -> str:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None  # noqa: S101 - start_program promises pipes
        assert stdout is not None  # noqa: S101 - as above
        with contextlib.suppress(BrokenPipeError):  # the program has printed why it ended
            stdin.write(line.encode() + b"\n")
            stdin.flush()
        step = f"{self._host.name}: pages of a guest in dom0: {line.split(maxsplit=1)[0]}"
        deadline = Deadline.for_xen(HANG_SECONDS, step, kept(self._host))
        while not select.select([stdout], [], [], min(1.0, deadline.remaining))[0]:
            deadline.check(**{"serial log": self._host.serial_tail()})
        word, _, said = stdout.readline().decode().strip().partition(" ")
        if word != "ok":
            raise InfrastructureError(f"mapping pages of a guest in dom0: {said}", tried=line[:80])
        return said

    def map(self, domid: int, frames: Iterable[int]) -> None:
        """Map frames of a domain, numbered as by `Guest.mappable`, in place of the earlier ones."""
        self._ask(" ".join(["map", str(domid), *map(str, frames)]))

    def hash(self) -> str:
        """SHA-256 of the present content of the mapped pages."""
        return self._ask("hash")

    def copy(self) -> None:
        """Copy the present content of the mapped pages into dom0's memory, until `close`."""
        self._ask("copy")

    def release(self) -> None:
        """Unmap the pages."""
        self._ask("release")

    def close(self) -> None:
        """Unmap all pages, and end the program."""
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        self._process.wait(_CLOSE_SECONDS)
