# SPDX-License-Identifier: MIT
"""A host's power switch and serial log: whatever commands its lab has for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pytest_xenscrub.deadline import Deadline
from pytest_xenscrub.errors import XenScrubError
from pytest_xenscrub.host.command import parse_command, run_command

if TYPE_CHECKING:
    from collections.abc import Sequence

Action = Literal["on", "off", "cycle", "status"]

POWER_SECONDS = 120.0
"""For the command alone: a BMC may take its time to answer."""
SERIAL_SECONDS = 10.0
_HOST = frozenset({"host"})


def parse_power(text: str) -> tuple[str, ...]:
    """The words of a power command: `{action}` in it becomes on, off, cycle or status.

    Raises:
        ConfigurationError: it is none.
    """
    return parse_command(
        text,
        "power command",
        required=frozenset({"action"}),
        optional=_HOST,
        example="ipmitool -I lanplus -H bmc-{host} -U admin -E chassis power {action}",
    )


def parse_serial(text: str) -> tuple[str, ...]:
    """The words of a command that prints a host's serial log as far as it has come, and ends.

    Raises:
        ConfigurationError: it is none.
    """
    return parse_command(
        text,
        "serial log command",
        required=frozenset(),
        optional=_HOST,
        example="ssh conserver tail -n 2000 /var/log/consoles/{host}",
    )


class PowerSwitch:
    """The power command of one host.

    Args:
        words: the command, with `{action}` and, where it is wanted, `{host}`.
        host: what becomes of `{host}`.
    """

    def __init__(self, words: Sequence[str], host: str) -> None:
        self._words = words
        self._host = host

    def run(self, action: Action) -> str:
        """Run it, and return what it printed.

        Raises:
            InfrastructureError: it failed; its output is in the error.
            DeadlineExceededError: it did not end in time.
        """
        step = f"{self._host}: power {action}"
        values = {"action": action, "host": self._host}
        return run_command(self._words, values, Deadline.after(POWER_SECONDS, step))


class SerialLog:
    """The serial log command of one host.

    Args:
        words: the command, with `{host}` where it is wanted.
        host: what becomes of `{host}`.
    """

    def __init__(self, words: Sequence[str], host: str) -> None:
        self._words = words
        self._host = host

    def tail(self, lines: int) -> str:
        """The log's last lines; where it cannot be had, why."""
        deadline = Deadline.after(SERIAL_SECONDS, f"{self._host}: reading its serial log")
        try:
            text = run_command(self._words, {"host": self._host}, deadline)
        except XenScrubError as error:
            # It is evidence for another error, which must not be lost for this one.
            return str(error)
        return "\n".join(text.replace("\r", "").splitlines()[-lines:])
