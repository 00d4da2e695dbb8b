# SPDX-License-Identifier: MIT
"""Drives a host's power switch and reads its serial log by commands of its lab."""

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
"""Limit of the power command; a BMC may answer slowly."""
SERIAL_SECONDS = 10.0
_HOST = frozenset({"host", "address"})


def parse_power(text: str) -> tuple[str, ...]:
    """Parse a power command; `{action}` in it becomes on, off, cycle or status.

    `{action:status=get}` becomes get in place of status: see `Translated`.

    Raises:
        ConfigurationError: the text is not such a command.
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
    """Parse a command that prints a host's serial log so far, and ends.

    Raises:
        ConfigurationError: the text is not such a command.
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
        words: the command, with `{action}` (see `parse_power`), and with `{host}` and `{address}`
            if wanted.
        host: value of `{host}`: the host's name, as the user wrote it.
        address: value of `{address}`: the address that ssh connects to; by default the host's name.
    """

    def __init__(self, words: Sequence[str], host: str, address: str = "") -> None:
        self._words = words
        self._host = host
        self._address = address or host

    def run(self, action: Action) -> str:
        """Run the command for an action, and return its output.

        Raises:
            InfrastructureError: the command failed; its output is in the error.
            DeadlineExceededError: the command did not end in time.
        """
        step = f"{self._host}: power {action}"
        values = {"action": Translated(action), "host": self._host, "address": self._address}
        return run_command(self._words, values, Deadline.after(POWER_SECONDS, step))


class SerialLog:
    """The serial log command of one host.

    Args:
        words: the command, with `{host}` and `{address}` if wanted.
        host: value of `{host}`: the host's name, as the user wrote it.
        address: value of `{address}`: the address that ssh connects to; by default the host's name.
    """

    def __init__(self, words: Sequence[str], host: str, address: str = "") -> None:
        self._words = words
        self._host = host
        self._address = address or host

    def tail(self, lines: int) -> str:
        """The last lines of the serial log, or the reason why it cannot be read."""
        try:
            text = self.read()
        except XenScrubError as error:
            # The log is evidence for another error, which this error must not replace.
            return str(error)
        return "\n".join(text.replace("\r", "").splitlines()[-lines:])

    def read(self) -> str:
        """All output of the command.

        Raises:
            InfrastructureError: the command failed; its output is in the error.
            DeadlineExceededError: the command did not end in time.
        """
        deadline = Deadline.after(SERIAL_SECONDS, f"{self._host}: reading its serial log")
        values = {"host": self._host, "address": self._address}
        return run_command(self._words, values, deadline)


def try_commands(described: HostDescription) -> None:
    """Try a machine's power and serial commands, so that a wrong one is found before a hang.

    Raises:
        InfrastructureError: one of the commands failed.
        DeadlineExceededError: one of them did not end in time.
    """
    address = "" if described.target is None else described.target.host
    if described.power:
        PowerSwitch(described.power, described.label, address).run("status")
    if described.serial:
        SerialLog(described.serial, described.label, address).read()
