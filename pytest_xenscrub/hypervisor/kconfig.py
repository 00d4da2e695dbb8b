# SPDX-License-Identifier: MIT
"""`--xen-config=KEY=VALUE`: options for Xen's Kconfig, and whether they were taken."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pytest_xenscrub.errors import ConfigurationError


@dataclass(frozen=True, order=True)
class KconfigOption:
    """One option of Kconfig.

    Attributes:
        key: its name without `CONFIG_`.
        value: as `.config` has it: `y`, `n`, a number, or a quoted text.
    """

    key: str
    value: str

    @property
    def line(self) -> str:
        """The line of `.config` that asks for it."""
        if self.value == "n":
            return f"# CONFIG_{self.key} is not set"
        return f"CONFIG_{self.key}={self.value}"

    def held_by(self, config: str) -> bool:
        """Whether a `.config` has it; an option that is not there at all counts as `n`."""
        found = re.search(rf"^CONFIG_{self.key}=(.*)$", config, re.M)
        return (found[1] if found else "n") == self.value


def parse_option(text: str) -> KconfigOption:
    """Parse KEY=VALUE; a `CONFIG_` in front of KEY is accepted.

    Raises:
        ConfigurationError: it is not of this form.
    """
    match = re.fullmatch(r"(?:CONFIG_)?([A-Z0-9_]+)=(.+)", text)
    if match is None:
        raise ConfigurationError(
            f"--xen-config={text}: not KEY=VALUE", todo="for example --xen-config=DEBUG=y"
        )
    key, value = match.groups()
    if not re.fullmatch(r"[yn]|-?\d+|0x[0-9a-fA-F]+|\".*\"", value):
        value = f'"{value}"'
    return KconfigOption(key, value)


def with_options(config: str, options: tuple[KconfigOption, ...]) -> str:
    """A `.config` in which each option replaces what was said of it before."""
    for option in options:
        config = re.sub(rf"^(# )?CONFIG_{option.key}[ =].*\n", "", config, flags=re.M)
    return config + "".join(f"{option.line}\n" for option in options)


def check_taken(config: str, options: tuple[KconfigOption, ...]) -> None:
    """Check that Kconfig left the options as they were asked for.

    Raises:
        ConfigurationError: naming those that it dropped or changed.
    """
    dropped = [option.line for option in options if not option.held_by(config)]
    if dropped:
        raise ConfigurationError(
            f"Kconfig did not take: {', '.join(dropped)}",
            tried="make olddefconfig",
            todo="the tree does not know the option, or what it depends on is off: "
            "give that as --xen-config too",
        )
