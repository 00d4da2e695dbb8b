# SPDX-License-Identifier: MIT
"""A command that sets what a host boots next, where that is not GRUB's to say: a network boot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

from pytest_xenscrub.host.command import Translated, parse_command, run_command

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_xenscrub.deadline import Deadline
    from pytest_xenscrub.host.description import HostDescription

Setting = Literal["once", "own"]

SECONDS = 300.0
"""For the command alone: it may copy files to a boot server."""
WORDS = ("xen", "options", "kernel", "kernel_options", "initrd")


def parse_boot(text: str) -> tuple[str, ...]:
    """The words of a command that sets what a host boots next; see `NextBoot.set`.

    Raises:
        ConfigurationError: it is none.
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
        described: the host, which has one.
    """

    def __init__(self, described: HostDescription) -> None:
        self._words = described.boot
        self._host = described.label
        self._address = self._host if described.target is None else described.target.host

    @property
    def goes_back(self) -> bool:
        """Whether it can be told to boot the host's own Xen again."""
        return any("{action" in word for word in self._words)

    def set(self, action: Setting, words: Mapping[str, str], deadline: Deadline) -> None:
        """Run it; when it returns, the host's next boot is set.

        Args:
            action: what `{action}` becomes: the next boot is of ours, or the host's own is back.
            words: what becomes of the other placeholders; those that are missing become nothing.
            deadline: when it has failed.

        Raises:
            InfrastructureError: it failed; its output is in the error.
            DeadlineExceededError: it did not end in time.
        """
        values = dict.fromkeys(WORDS, "") | dict(words)
        values |= {
            "action": Translated(action), "host": self._host, "address": self._address
        }  # fmt: skip
        step = f"{self._host}: setting its next boot"
        run_command(self._words, values, deadline.within(SECONDS, step))
