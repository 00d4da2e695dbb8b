# SPDX-License-Identifier: MIT
"""A host's power switch and serial log, driven by commands of its lab."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

from pytest_xenscrub.deadline import Deadline
from pytest_xenscrub.errors import XenScrubError
from pytest_xenscrub.host.command import Translated, parse_command, run_command

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_xenscrub.host.description import HostDescription

Action = Literal["on", "off", "cycle", "status"]

POWER_SECONDS = 120.0
"""For the command alone: a BMC may take its time to answer."""
SERIAL_SECONDS = 10.0
_HOST = frozenset({"host", "address"})


def parse_power(text: str) -> tuple[str, ...]:
    """The words of a power command: `{action}` in it becomes on, off, cycle or status.

    `{action:status=get}` becomes get in place of status: see `Translated`.

    Raises:
        ConfigurationError: it is none.
    """
    return parse_command(
        text,
        "power command",
        required=frozenset({"action"}),
        optional=_HOST,
        example="ipmitool -I lanplus -H bmc-{host} -U admin -E chassis power {action}",
        translated={"action": frozenset(get_args(Action))},
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
        words: the command, with `{action}` (see `parse_power`) and, where they are wanted, `{host}`
            and `{address}`.
        host: what becomes of `{host}`: how the user calls it.
        address: what becomes of `{address}`: what ssh connects to; default: the same.
    """

    def __init__(self, words: Sequence[str], host: str, address: str = "") -> None:
        self._words = words
        self._host = host
        self._address = address or host

    def run(self, action: Action) -> str:
        """Run it, and return what it printed.

        Raises:
            InfrastructureError: it failed; its output is in the error.
            DeadlineExceededError: it did not end in time.
        """
        step = f"{self._host}: power {action}"
        values = {"action": Translated(action), "host": self._host, "address": self._address}
        return run_command(self._words, values, Deadline.after(POWER_SECONDS, step))


class SerialLog:
    """The serial log command of one host.

    Args:
        words: the command, with `{host}` and `{address}` where they are wanted.
        host: what becomes of `{host}`: how the user calls it.
        address: what becomes of `{address}`: what ssh connects to; default: the same.
    """

    def __init__(self, words: Sequence[str], host: str, address: str = "") -> None:
        self._words = words
        self._host = host
        self._address = address or host

    def tail(self, lines: int) -> str:
        """The last lines of the serial log, or why it cannot be read."""
        try:
            text = self.read()
        except XenScrubError as error:
            # It is evidence for another error, which must not be lost for this one.
            return str(error)
        return "\n".join(text.replace("\r", "").splitlines()[-lines:])

    def read(self) -> str:
        """All that the command prints.

        Raises:
            InfrastructureError: it failed; its output is in the error.
            DeadlineExceededError: it did not end in time.
        """
        deadline = Deadline.after(SERIAL_SECONDS, f"{self._host}: reading its serial log")
        values = {"host": self._host, "address": self._address}
        return run_command(self._words, values, deadline)


def try_commands(described: HostDescription) -> None:
    """Try a machine's power and serial commands while it is well, not first when it hangs.

    Raises:
        InfrastructureError: one of them failed.
        DeadlineExceededError: one did not end in time.
    """
    address = "" if described.target is None else described.target.host
    if described.power:
        PowerSwitch(described.power, described.label, address).run("status")
    if described.serial:
        SerialLog(described.serial, described.label, address).read()
