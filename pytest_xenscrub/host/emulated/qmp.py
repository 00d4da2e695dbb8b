# SPDX-License-Identifier: MIT
"""QMP for callers without asyncio: runs `qemu.qmp` on an event loop in a thread."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from typing import TYPE_CHECKING, Any

from qemu.qmp import QMPClient, QMPError

from pytest_xenscrub.errors import InfrastructureError

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_xenscrub.deadline import Deadline

logging.getLogger("qemu.qmp").setLevel(logging.CRITICAL)  # its errors are raised here anyway


class Qmp:
    """A connection to one QEMU's monitor; commands of several threads run one after the other."""

    def __init__(self, socket: Path, deadline: Deadline) -> None:
        """Connect.

        Raises:
            InfrastructureError: QEMU's socket did not accept the connection in time.
        """
        self._runner = asyncio.Runner()
        # One thread may ask where the CPUs are during a destroy, while another thread asks, too.
        self._lock = threading.Lock()
        self._client = QMPClient("xenscrub")
        try:
            self._connect(socket, deadline)
        except BaseException:
            self._runner.close()
            raise

    def _connect(self, socket: Path, deadline: Deadline) -> None:
        while True:
            try:
                self._runner.run(
                    asyncio.wait_for(self._client.connect(str(socket)), deadline.remaining + 0.01)
                )
                break
            except (QMPError, OSError, TimeoutError) as error:
                if deadline.passed:
                    raise InfrastructureError(
                        "QEMU's monitor does not answer",
                        tried=str(socket),
                        evidence={"": str(error)},
                    ) from error
                time.sleep(0.05)

    def execute(
        self, command: str, arguments: dict[str, Any] | None = None, *, seconds: float = 120
    ) -> Any:
        """Run a QMP command, and return its result, within that many seconds.

        Raises:
            InfrastructureError: QEMU refused the command, or has ended.
        """
        try:
            with self._lock:
                reply = self._client.execute(command, arguments)
                return self._runner.run(asyncio.wait_for(reply, seconds))
        except (QMPError, OSError, TimeoutError) as error:
            raise InfrastructureError(
                f"QEMU refused {command}", tried=str(arguments or ""), evidence={"qmp": str(error)}
            ) from error

    def close(self) -> None:
        """Disconnect. Never raises, may be called twice."""
        try:
            self._runner.run(asyncio.wait_for(self._client.disconnect(), 5))
        except (Exception, asyncio.CancelledError):  # noqa: S110 - QEMU may be gone already
            pass
        finally:
            self._runner.close()
