# SPDX-License-Identifier: MIT
"""Runs the user's command that sets a host's next boot, for hosts that do not boot by GRUB."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

from pytest_xenscrub.host.command import Translated, parse_command, run_command

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_xenscrub.deadline import Deadline
    from pytest_xenscrub.host.description import HostDescription

Setting = Literal["once", "own"]

SECONDS = 300.0
"""Limit of the command, which may copy files to a boot server."""
WORDS = ("xen", "options", "kernel", "kernel_options", "initrd")


def parse_boot(text: str) -> tuple[str, ...]:
    """Parse a command that sets what a host boots next; see `NextBoot.set`.

    Raises:
        ConfigurationError: the text is not such a command.
    """
    return parse_command(
        text,
        "boot command",
        required=frozenset({"xen", "options"}),
        optional=frozenset({"action", "host", "address", *WORDS}),
        example="pxe-boot {host} {action} {xen} {options} {kernel} {kernel_options} {initrd}",
        translated={"action": frozenset(get_args(Setting))},
    )


class NextBoot:
    """The boot command of one host.

    Args:
        described: the host, with its boot command.
    """

    def __init__(self, described: HostDescription) -> None:
        self._words = described.boot
        self._host = described.label
        self._address = self._host if described.target is None else described.target.host

    @property
    def goes_back(self) -> bool:
        """Whether the command can also set a boot of the host's own Xen."""
        return any("{action" in word for word in self._words)

    def set(self, action: Setting, words: Mapping[str, str], deadline: Deadline) -> None:
        """Run the command; when it returns, the host's next boot is set.

        Args:
            action: the value of `{action}`: boot the built Xen next, or the host's own Xen.
            words: values of the other placeholders; missing ones are empty.
            deadline: limit of the command.

        Raises:
            InfrastructureError: the command failed; its output is in the error.
            DeadlineExceededError: the command did not end in time.
        """
        values = dict.fromkeys(WORDS, "") | dict(words)
        values |= {
            "action": Translated(action), "host": self._host, "address": self._address
        }  # fmt: skip
        step = f"{self._host}: setting its next boot"
        run_command(self._words, values, deadline.within(SECONDS, step))
